// `npm test [-- SUITE…]`: sets up what is missing, then runs the check and each suite; ends with `N passed, N failed`.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check } from './check.mjs';
import { ROOT } from './setup/checkout.mjs';
import { run } from './setup/process.mjs';
import { main, SetupError } from './setup/report.mjs';
import { setup } from './setup/setup.mjs';
import { endLeftovers } from './testing/leftovers.mjs';

const MINUTE_MS = 60_000;
/** In this order; a folder that does not exist or holds no test is left out. */
const SUITES = [
  { name: 'check', run: check },
  mochaSuite('unit', 3 * MINUTE_MS),
  mochaSuite('gateway', 15 * MINUTE_MS),
  { name: 'python', folder: 'python/tests', files: /^test_.*\.py$/, run: runPytest, timeoutMs: 10 * MINUTE_MS },
  mochaSuite('notebook', 10 * MINUTE_MS),
  mochaSuite('acceptance', 15 * MINUTE_MS),
  mochaSuite('faults', 20 * MINUTE_MS),
];

function mochaSuite(name, timeoutMs) {
  return { name, folder: `test/${name}`, files: /\.test\.ts$/, run: runMocha, timeoutMs };
}

async function testAll(names) {
  const unknown = names.filter((name) => !SUITES.some((suite) => suite.name === name));
  if (unknown.length > 0) {
    throw new SetupError(
      `There is no test suite called ${unknown.join(', ')}.`,
      `Known: ${SUITES.map((suite) => suite.name).join(', ')}.`,
    );
  }
  await setup();

  const rows = [];
  for (const suite of SUITES) {
    const asked = names.length === 0 || names.includes(suite.name);
    if (!asked || (suite.folder && !holdsTests(suite))) continue;
    process.stdout.write(`\n── ${suite.name}\n`);
    const started = Date.now();
    const { passed, failed, skipped = 0 } = await suite.run(suite);
    rows.push({ name: suite.name, passed, failed, skipped, seconds: (Date.now() - started) / 1000 });
  }
  return summarize(rows);
}

function holdsTests({ folder, files }) {
  const full = join(ROOT, folder);
  return (
    existsSync(full) &&
    readdirSync(full, { recursive: true }).some((file) => files.test(String(file).split(/[\\/]/).at(-1)))
  );
}

/** A skipped test is one nobody ran: in CI it has failed. */
function summarize(rows) {
  const sum = (key) => rows.reduce((total, row) => total + row[key], 0);
  const strict = process.env.CI === 'true';
  const passed = sum('passed');
  const failed = sum('failed') + (strict ? sum('skipped') : 0);
  process.stdout.write('\nsuite        passed  failed  skipped   seconds\n');
  for (const row of rows) {
    const numbers = [row.passed, row.failed, row.skipped].map((n) => String(n).padStart(8)).join('');
    process.stdout.write(`${row.name.padEnd(11)}${numbers}  ${row.seconds.toFixed(1).padStart(9)}\n`);
  }
  if (sum('skipped') > 0)
    process.stdout.write(`${sum('skipped')} skipped${strict ? ', counted as failed (CI=true)' : ''}\n`);
  if (passed + failed === 0) process.stdout.write('Nothing ran.\n');
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  return failed > 0 || passed === 0 ? 1 : 0;
}

function runMocha({ folder, name, timeoutMs }) {
  return runSuite(name, timeoutMs, (counts) => ({
    args: [
      join('node_modules', 'mocha', 'bin', 'mocha.js'),
      ...['--reporter', 'scripts/testing/countingReporter.cjs'],
      ...(process.stdout.isTTY ? ['--color'] : []),
      `${folder}/**/*.test.ts`,
    ],
    command: process.execPath,
    env: { LOFT_COUNTS: counts },
    read: () => JSON.parse(readFileSync(counts, 'utf8')),
  }));
}

function runPytest({ folder, name, timeoutMs }) {
  return runSuite(name, timeoutMs, (counts) => ({
    command: join(ROOT, '.venv', process.platform === 'win32' ? 'Scripts' : 'bin', 'python'),
    args: ['-m', 'pytest', '-p', 'no:cacheprovider', `--junitxml=${counts}`, folder],
    env: {},
    read: () => readJunit(readFileSync(counts, 'utf8')),
  }));
}

function readJunit(xml) {
  const count = (attribute) => Number(new RegExp(`<testsuite [^>]*\\b${attribute}="(\\d+)"`).exec(xml)?.[1] ?? 0);
  const failed = count('failures') + count('errors');
  return { passed: count('tests') - failed - count('skipped'), failed, skipped: count('skipped') };
}

/**
 * Runs one suite in a temporary folder of its own. A suite that timed out, crashed before it could count, or ended badly
 * though nothing in it failed, counts as one more failure; so does one that leaves processes running.
 */
async function runSuite(name, timeoutMs, describe) {
  const folder = mkdtempSync(join(tmpdir(), 'loft-'));
  const { command, args, env, read } = describe(join(folder, 'counts'));
  const result = await run(command, args, { cwd: ROOT, timeoutMs, show: true, env: { ...env, TMPDIR: folder } });
  const problems = [];
  if (result.timedOut) problems.push(`was ended after its time-out of ${timeoutMs / MINUTE_MS} minutes`);
  const counts = { passed: 0, failed: 0, skipped: 0, ...attempt(read) };
  if (!result.timedOut && result.code !== 0 && counts.failed === 0) problems.push(`ended with code ${result.code}`);
  const leftovers = await endLeftovers(folder);
  if (leftovers.length > 0) problems.push(`left running (ended now): ${leftovers.join('; ')}`);
  rmSync(folder, { recursive: true, force: true });
  for (const problem of problems) process.stdout.write(`The suite ${name} ${problem}.\n`);
  return { ...counts, failed: counts.failed + problems.length };
}

function attempt(read) {
  try {
    return read();
  } catch {
    return {};
  }
}

await main(() => testAll(process.argv.slice(2)));
