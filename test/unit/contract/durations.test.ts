import assert from 'node:assert/strict';
import fc from 'fast-check';
import { formatDuration, maxDurationSeconds, parseDuration } from '../../../contract/durations';

describe('durations', () => {
  it('reads seconds, minutes, hours and days', () => {
    assert.equal(parseDuration('45s'), 45);
    assert.equal(parseDuration('30m'), 1_800);
    assert.equal(parseDuration('3h'), 10_800);
    assert.equal(parseDuration('7d'), 604_800);
    assert.equal(parseDuration('0s'), 0);
    assert.equal(parseDuration('3652500d'), maxDurationSeconds);
  });

  const refused: [string, RegExp][] = [
    ['', /Bad duration ""/],
    ['-1h', /expected a whole number/],
    ['+1h', /expected a whole number/],
    ['1.5h', /expected a whole number/],
    ['1e3s', /expected a whole number/],
    ['1 h', /Did you mean 1h\?/],
    [' 1h', /Did you mean 1h\?/],
    ['1h\n', /Did you mean 1h\?/],
    ['90', /Did you mean 90s\?/],
    ['2w', /Did you mean 14d\?/],
    ['5 minutes', /Did you mean 5m\?/],
    ['3H', /Did you mean 3h\?/],
    ['01h', /Did you mean 1h\?/],
    ['٣h', /expected a whole number/],
    ['3652501d', /at most 10,000 years/],
    [`${'9'.repeat(400)}s`, /at most 10,000 years/],
  ];
  for (const [text, words] of refused) {
    it(`refuses ${JSON.stringify(text.slice(0, 20))}`, () => {
      assert.throws(() => parseDuration(text), { name: 'TypeError', message: words });
    });
  }

  it('writes the largest unit that divides', () => {
    assert.deepEqual([0, 90, 120, 3_600, 86_400, 90_000].map(formatDuration), ['0s', '90s', '2m', '1h', '1d', '25h']);
  });

  it('reads back what it writes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: maxDurationSeconds }), (seconds) => {
        assert.equal(parseDuration(formatDuration(seconds)), seconds);
      }),
    );
  });
});
