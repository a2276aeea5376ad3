import { appendFileSync } from 'node:fs';

/**
 * Says what an acceptance test wrote and what it read back, for `npm run uat` to print; call it once or more, from within
 * the test: `evidence(this, '3 rows to hourly_weather', 'temp 39.02 PRESENT', { 'p99 ms': 4 })`.
 * Elsewhere than under `npm run uat` it does nothing.
 */
export function evidence(
  context: Mocha.Context,
  written: string,
  readBack: string,
  numbers: Record<string, number | string> = {},
): void {
  const file = process.env['LOFT_EVIDENCE'];
  const test = context.test;
  if (file === undefined || test === undefined) return;
  appendFileSync(file, `${JSON.stringify({ title: test.titlePath().join(': '), written, readBack, numbers })}\n`);
}
