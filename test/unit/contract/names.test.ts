import assert from 'node:assert/strict';
import fc from 'fast-check';
import { maxNameLength, nameProblem, suggestName } from '../../../contract/names';

describe('names', () => {
  it('takes letters, digits and single underscores, SQL words and JavaScript words too', () => {
    for (const name of ['a', 'temp', 'temp_2', 'select', 'user', 'table', 'constructor', 'x'.repeat(48)]) {
      assert.equal(nameProblem(name, 'feature'), undefined);
    }
  });

  const refused: [string, RegExp, string | undefined][] = [
    ['', /this one is empty/, undefined],
    ['Temp', /the capital letter "T"/, 'temp'],
    ['flightDelay', /the capital letter "D"/, 'flight_delay'],
    ['2nd_stop', /starts with "2"/, 'nd_stop'],
    ['_hidden', /starts with "_"/, 'hidden'],
    ['wind speed', /a space/, 'wind_speed'],
    ['a__b', /two underscores in a row/, 'a_b'],
    ['__proto__', /starts with "_"/, 'proto'],
    ['x'.repeat(49), /has 49 characters/, 'x'.repeat(48)],
    ['x'.repeat(64), /has 64 characters/, 'x'.repeat(48)],
    ['café', /U\+00E9/, 'cafe'],
    ['a"; drop table x; --', /this one has """/, 'a_drop_table_x'],
    ['p\u0430y', /U\+0430, which only looks like "a"/, 'pay'],
    ['\u202eabc', /U\+202E/, 'abc'],
    ['a\0b', /U\+0000/, 'a_b'],
    ['日本', /U\+65E5/, undefined],
    ['a😀b', /U\+1F600/, 'a_b'],
  ];
  for (const [name, trouble, suggestion] of refused) {
    it(`refuses ${JSON.stringify(name)} and suggests ${suggestion ?? 'nothing'}`, () => {
      const problem = nameProblem(name, 'view') ?? '';
      assert.match(problem, trouble);
      assert.match(problem, /a view name of lower-case letters.*at most 48 characters/);
      assert.equal(/Did you mean (.*)\?/.exec(problem)?.[1], suggestion);
    });
  }

  it('shows a hostile name without its control and right-to-left characters', () => {
    assert.match(nameProblem('\u202eabc\u001b[31m', 'view') ?? '', /^[ -~]*$/);
  });

  it('reserves system columns for keys and features only', () => {
    assert.match(nameProblem('event_timestamp', 'feature') ?? '', /not reserved.*Did you mean event_timestamp_value\?/);
    assert.match(nameProblem('ctid', 'key') ?? '', /reserved/);
    assert.equal(nameProblem('filename', 'dataset'), undefined);
  });

  it('suggests only valid names, whatever it is given', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 80 }), (text) => {
        const suggestion = suggestName(text, 'feature');
        if (suggestion !== undefined) assert.equal(nameProblem(suggestion, 'feature'), undefined);
      }),
    );
  });

  it('accepts a name exactly when the rule of semantics.md does', () => {
    const nearly = fc.string({ unit: fc.constantFrom('a', 'z', '0', '9', '_', 'A', 'é'), maxLength: 6 });
    fc.assert(
      fc.property(nearly, fc.boolean(), (text, long) => {
        const name = long ? text.padEnd(maxNameLength + 1, 'a') : text;
        const valid = /^[a-z][a-z0-9_]*$/.test(name) && !name.includes('__') && name.length <= 48;
        assert.equal(nameProblem(name, 'view') === undefined, valid);
      }),
    );
  });
});
