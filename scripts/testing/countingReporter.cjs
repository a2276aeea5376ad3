// Mocha's spec output, plus the counts as JSON in the file named by LOFT_COUNTS: written at the end, so a crash leaves none.
const { writeFileSync } = require('node:fs');
const { reporters } = require('mocha');

module.exports = class CountingReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    runner.once('end', () => {
      const { passes, failures, pending } = runner.stats;
      writeFileSync(process.env.LOFT_COUNTS, JSON.stringify({ passed: passes, failed: failures, skipped: pending }));
    });
  }
};
