// Mocha's spec output, plus the results as JSON in the file LOFT_RESULTS: written at the end, so a crash leaves none.
const { writeFileSync } = require('node:fs');
const { reporters } = require('mocha');

/** Mocha ends when nothing is open any more; a test that left something open must not cost the suite's whole time-out. */
const CLOSING_MS = 10_000;

module.exports = class CountingReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const tests = [];
    runner.on('test end', (test) => {
      tests.push({
        title: test.titlePath().join(': '),
        state: test.state ?? 'skipped',
        seconds: (test.duration ?? 0) / 1000,
      });
    });
    runner.once('end', () => {
      const { passes, failures, pending } = runner.stats;
      const results = { passed: passes, failed: failures, skipped: pending, tests };
      writeFileSync(process.env.LOFT_RESULTS, JSON.stringify(results));
      setTimeout(() => {
        const leftOpen = process.getActiveResourcesInfo();
        writeFileSync(process.env.LOFT_RESULTS, JSON.stringify({ ...results, leftOpen }));
        process.exit();
      }, CLOSING_MS).unref();
    });
  }
};
