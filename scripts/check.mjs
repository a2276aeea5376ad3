// `npm run check`: types, lint, format and dead code of all languages, at the same time; what fails is shown.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isMain, ROOT } from './setup/checkout.mjs';
import { run } from './setup/process.mjs';
import { VENV_PYTHON } from './setup/python.mjs';
import { main, SetupError } from './setup/report.mjs';

const TIMEOUT_MS = 5 * 60_000;
const KEPT = 'node_modules/.cache';
const PYTHON_CONFIG = ['--config', 'python/pyproject.toml'];
const PYTHON_FOLDERS = ['python', 'examples', 'test'];
const CHECKS = [
  // Without a cache: a typed rule's verdict on a file depends on other files, which the cache does not look at.
  ['lint', inNode('eslint/bin/eslint.js', '.', '--max-warnings', '0')],
  [
    'types',
    inNode('typescript/bin/tsc', '--noEmit', '--incremental', '--tsBuildInfoFile', `${KEPT}/types.tsbuildinfo`),
  ],
  [
    'format',
    inNode(
      'prettier/bin/prettier.cjs',
      '--check',
      '.',
      '--log-level',
      'warn',
      '--cache',
      '--cache-location',
      `${KEPT}/format`,
    ),
  ],
  ['dead code', inNode('knip/bin/knip.js', '--no-progress', '--cache', '--cache-location', `${KEPT}/knip`)],
  [
    'Python lint',
    inPython('ruff', 'check', '--quiet', '--cache-dir', `${KEPT}/ruff`, ...PYTHON_CONFIG, ...PYTHON_FOLDERS),
  ],
  [
    'Python format',
    inPython('ruff', 'format', '--check', '--cache-dir', `${KEPT}/ruff`, ...PYTHON_CONFIG, ...PYTHON_FOLDERS),
  ],
  [
    'Python types',
    inPython('mypy', '--config-file', 'python/pyproject.toml', '--cache-dir', `${KEPT}/mypy`, ...PYTHON_FOLDERS),
  ],
];

function inNode(script, ...args) {
  return [process.execPath, join('node_modules', script), ...args];
}

function inPython(module, ...args) {
  return [VENV_PYTHON, '-m', module, ...args];
}

/** Returns { passed, failed }. */
export async function check() {
  if (!existsSync(join(ROOT, 'node_modules')) || !existsSync(VENV_PYTHON)) {
    throw new SetupError('This checkout is not set up.', 'Run `npm run setup` first.');
  }
  const results = await Promise.all(CHECKS.map(([name, command]) => checkOne(name, command)));
  const passed = results.filter(Boolean).length;
  return { passed, failed: results.length - passed };
}

async function checkOne(name, [command, ...args]) {
  const { code, timedOut, output, seconds } = await run(command, args, { cwd: ROOT, timeoutMs: TIMEOUT_MS });
  const passed = code === 0;
  const verdict = passed ? 'ok' : timedOut ? `FAILED: no end within ${TIMEOUT_MS / 1000} s` : 'FAILED';
  process.stdout.write(`${passed ? '' : `${output.trimEnd()}\n`}check ${name}: ${verdict} (${seconds.toFixed(1)} s)\n`);
  return passed;
}

if (isMain(import.meta.url)) await main(async () => ((await check()).failed === 0 ? 0 : 1));
