import assert from 'node:assert/strict';
import { TypeGuess } from '../../../server/offline/worker/typeGuess';

function guess(...texts: string[]): { type: string; reason: string } {
  const one = new TypeGuess();
  texts.forEach((text, row) => one.see(text, row));
  return one.guess();
}

describe('guessing a column’s type from its texts', () => {
  for (const [texts, type] of [
    [['true', 'False'], 'bool'],
    [['1', '-20', '9223372036854775807'], 'int64'],
    [['1', '2.5', '1e3', 'NaN', '-Infinity'], 'float64'],
    [['2024-02-29', '0001-01-01'], 'date'],
    [['2024-01-01T00:00:00Z', '2024-01-01 00:00:00.5+02:00'], 'timestamp'],
    [['123e4567-e89b-12d3-a456-426614174000'], 'uuid'],
    [['a', '1'], 'string'],
    [[], 'string'],
  ] as const) {
    it(`${texts.join(', ') || 'no value'} is ${type}`, () => assert.equal(guess(...texts).type, type));
  }

  it('keeps as text what a number would lose, and says what', () => {
    assert.match(guess('12', '007').reason, /"007" \(row 2\) has a leading zero/);
    assert.equal(guess('9223372036854775808').type, 'float64'); // 2^63 is exact in a float64
    assert.match(guess('9223372036854775809').reason, /more digits than float64 keeps/);
    assert.match(guess('1', '-0').type, /float64/);
    assert.match(guess('1e999').reason, /beyond float64/);
  });

  it('does not take a time without a zone, or finer than microseconds, for a timestamp', () => {
    const zoneless = guess('2024-01-01T00:00:00Z', '2024-01-01T00:00:00');
    assert.equal(zoneless.type, 'string');
    assert.match(zoneless.reason, /\(row 2\) is a time without a zone; write Z or an offset/);
    assert.match(guess('2024-01-01T00:00:00.0000001Z').reason, /finer than microseconds/);
    assert.match(guess('2024-13-01T00:00:00Z').reason, /not a valid time/);
  });

  it('names the value that broke the guess that held longest', () => {
    assert.match(guess('1', '2', '3.5', 'n/a').reason, /"n\/a" \(row 4\) is no number/);
  });
});
