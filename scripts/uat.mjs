// `npm run uat`: the acceptance tests, then for each what it wrote, what it read back, and its numbers.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OLDEST_FOR_TESTS } from './setup/node.mjs';
import { main } from './setup/report.mjs';
import { setup } from './setup/setup.mjs';
import { runMocha } from './testing/suites.mjs';

const TIMEOUT_MS = 20 * 60_000;

await main(async () => {
  await setup({ oldestNode: OLDEST_FOR_TESTS });
  const folder = mkdtempSync(join(tmpdir(), 'loft-uat-'));
  const file = join(folder, 'evidence');
  const suite = { name: 'acceptance', folder: 'test/acceptance', timeoutMs: TIMEOUT_MS, env: { LOFT_EVIDENCE: file } };
  const { tests = [], failed, skipped } = await runMocha(suite);
  const evidence = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').map(JSON.parse) : [];
  rmSync(folder, { recursive: true, force: true });
  const verdicts = tests.map((test, index) => print(test, index + 1, evidence));
  const bare = verdicts.filter((verdict) => verdict === 'no evidence').length;
  process.stdout.write(
    `\n${verdicts.filter((verdict) => verdict === 'passed').length} passed, ${failed + skipped + bare} failed\n`,
  );
  return failed + skipped + bare > 0 || tests.length === 0 ? 1 : 0;
});

/** A test that shows nothing proves nothing: it counts as failed here. */
function print({ title, state, seconds }, number, evidence) {
  const own = evidence.filter((entry) => entry.title === title);
  const verdict = state === 'passed' && own.length === 0 ? 'no evidence' : state;
  const lines = own.flatMap(({ written, readBack, numbers }) => [
    `      written    ${written}`,
    `      read back  ${readBack}`,
    ...(Object.keys(numbers).length > 0 ? [`      numbers    ${describe(numbers)}`] : []),
  ]);
  const head = `${String(number).padStart(4)}. ${verdict.toUpperCase()}  ${title} (${seconds.toFixed(1)} s)`;
  process.stdout.write(`\n${[head, ...lines].join('\n')}\n`);
  return verdict;
}

function describe(numbers) {
  return Object.entries(numbers)
    .map(([name, value]) => `${name} ${typeof value === 'number' ? shortNumber(value) : value}`)
    .join(' · ');
}

function shortNumber(value) {
  return Number.isInteger(value) ? value.toLocaleString('en') : String(Number(value.toPrecision(4)));
}
