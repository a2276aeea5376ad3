// `npm run check`: types, lint, format and dead code, at the same time; what fails is shown.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isMain, ROOT } from './setup/checkout.mjs';
import { run } from './setup/process.mjs';
import { main, SetupError } from './setup/report.mjs';

const TIMEOUT_MS = 5 * 60_000;
const KEPT = 'node_modules/.cache';
const CHECKS = [
  ['types', 'typescript/bin/tsc', ['--noEmit', '--incremental', '--tsBuildInfoFile', `${KEPT}/types.tsbuildinfo`]],
  // Without a cache: a typed rule's verdict on a file depends on other files, which the cache does not look at.
  ['lint', 'eslint/bin/eslint.js', ['.', '--max-warnings', '0']],
  [
    'format',
    'prettier/bin/prettier.cjs',
    ['--check', '.', '--log-level', 'warn', '--cache', '--cache-location', `${KEPT}/prettier-check`],
  ],
  ['dead code', 'knip/bin/knip.js', ['--no-progress', '--cache', '--cache-location', `${KEPT}/knip`]],
];

/** Returns { passed, failed }. */
export async function check() {
  if (!existsSync(join(ROOT, 'node_modules'))) {
    throw new SetupError('The npm packages are not installed.', 'Run `npm run setup` first.');
  }
  const results = await Promise.all(CHECKS.map(([name, script, args]) => checkOne(name, script, args)));
  const passed = results.filter(Boolean).length;
  return { passed, failed: results.length - passed };
}

async function checkOne(name, script, args) {
  const { code, timedOut, output, seconds } = await run(process.execPath, [join('node_modules', script), ...args], {
    cwd: ROOT,
    timeoutMs: TIMEOUT_MS,
  });
  const passed = code === 0;
  const verdict = passed ? 'ok' : timedOut ? `FAILED: no end within ${TIMEOUT_MS / 1000} s` : 'FAILED';
  process.stdout.write(`${passed ? '' : `${output.trimEnd()}\n`}check ${name}: ${verdict} (${seconds.toFixed(1)} s)\n`);
  return passed;
}

if (isMain(import.meta.url)) await main(async () => ((await check()).failed === 0 ? 0 : 1));
