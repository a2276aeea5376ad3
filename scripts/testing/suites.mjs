// Runs one test suite as a process of its own and counts what came of it.
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../setup/checkout.mjs';
import { run } from '../setup/process.mjs';
import { VENV_PYTHON } from '../setup/python.mjs';
import { endLeftovers } from './leftovers.mjs';

/** Runs the mocha tests under a folder; besides the counts, `tests` has { title, state, seconds } of each that ran. */
export function runMocha({ name, folder, timeoutMs, env = {} }) {
  return runSuite(name, timeoutMs, (results) => ({
    command: process.execPath,
    args: [
      join('node_modules', 'mocha', 'bin', 'mocha.js'),
      ...['--reporter', 'scripts/testing/countingReporter.cjs'],
      process.stdout.isTTY ? '--color' : '--no-color',
      `${folder}/**/*.test.ts`,
    ],
    env: { ...env, LOFT_RESULTS: results },
    read: () => JSON.parse(readFileSync(results, 'utf8')),
  }));
}

export function runPytest({ name, folder, timeoutMs }) {
  return runSuite(name, timeoutMs, (results) => ({
    command: VENV_PYTHON,
    args: ['-m', 'pytest', '-p', 'no:cacheprovider', `--junitxml=${results}`, folder],
    env: {},
    read: () => readJunit(readFileSync(results, 'utf8')),
  }));
}

function readJunit(xml) {
  const count = (attribute) => Number(new RegExp(`<testsuite [^>]*\\b${attribute}="(\\d+)"`).exec(xml)?.[1] ?? 0);
  const failed = count('failures') + count('errors');
  return { passed: count('tests') - failed - count('skipped'), failed, skipped: count('skipped') };
}

/**
 * Returns { passed, failed, skipped } and what else the runner wrote. The suite works in a temporary folder of its own.
 * A time-out, a crash before the runner could count, a bad end though no test failed, what a test left open, and processes
 * left running each count as one more failure.
 */
async function runSuite(name, timeoutMs, describe) {
  const folder = mkdtempSync(join(tmpdir(), 'loft-'));
  // As open as the system's own: under root, tests run programs as an ordinary account too.
  chmodSync(folder, 0o1777);
  const { command, args, env, read } = describe(join(folder, 'results'));
  const { code, timedOut } = await run(command, args, {
    cwd: ROOT,
    timeoutMs,
    show: (text) => process.stdout.write(text),
    env: { ...env, TMPDIR: folder, TEMP: folder, TMP: folder },
  });
  const results = existsSync(join(folder, 'results')) ? read() : { passed: 0, failed: 0, skipped: 0 };
  const problems = [];
  if (timedOut) problems.push(`was ended: no end within its time-out of ${timeoutMs / 60_000} minutes`);
  else if (code !== 0 && results.failed === 0) problems.push(`ended with code ${code}, though no test failed`);
  else if (results.passed + results.failed + results.skipped === 0) problems.push('ran no test');
  if (results.leftOpen) problems.push(`left open after its last test: ${results.leftOpen.join(', ')}`);
  const leftovers = await endLeftovers(folder);
  if (leftovers.length > 0) problems.push(`left running (ended now): ${leftovers.join('; ')}`);
  rmSync(folder, { recursive: true, force: true });
  for (const problem of problems) process.stdout.write(`The suite ${name} ${problem}.\n`);
  return { ...results, failed: results.failed + problems.length };
}
