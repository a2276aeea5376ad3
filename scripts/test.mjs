// `npm test [-- SUITE…]`: sets up what is missing, then runs the check and each suite; ends with `N passed, N failed`.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { check } from './check.mjs';
import { ROOT } from './setup/checkout.mjs';
import { OLDEST_FOR_TESTS } from './setup/node.mjs';
import { main, SetupError } from './setup/report.mjs';
import { setup } from './setup/setup.mjs';
import { runMocha, runPytest } from './testing/suites.mjs';

const MINUTE_MS = 60_000;
/** In this order; a folder that does not exist or holds no test is left out. */
const SUITES = [
  { name: 'check', run: check },
  mochaSuite('unit', 5 * MINUTE_MS),
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
  await setup({ oldestNode: OLDEST_FOR_TESTS });

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

await main(() => testAll(process.argv.slice(2)));
