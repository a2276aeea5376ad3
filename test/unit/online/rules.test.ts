import assert from 'node:assert/strict';
import type { Cell } from '../../../contract/cells';
import { checksOf } from '../../../server/online/rules';
import { viewOf } from './decoding';

describe('rules of a feature', () => {
  const cases: [string, object, Cell[], Cell[]][] = [
    ['float64', { range: [0, 1] }, ['0', '-0', '1', '0.5', null], ['-1e-320', '1.0000000000000002', 'NaN', 'Infinity']],
    ['float64', { range: [null, 0.3] }, ['-Infinity', '0.3'], ['0.30000000000000004']],
    ['float32', { range: [0.1, null] }, ['0.1', 'Infinity'], ['0.09']],
    ['int64', { range: [null, 9007199254740992] }, ['9007199254740992'], ['9007199254740993']],
    ['decimal(38,18)', { range: [0.1, 2] }, ['0.100000000000000000'], ['0.099999999999999999', '2.000000000000000001']],
    ['int32', { accepted: [1, 2] }, ['1', '2', null], ['3']],
    ['float64', { accepted: [0, 0.1] }, ['0', '-0', '0.1'], ['0.2', 'NaN']],
    ['string', { accepted: ['a', 'b'] }, ['a'], ['', 'A']],
    ['bool', { accepted: [true] }, ['true'], ['false']],
    ['date', { accepted: ['2024-01-01'] }, ['2024-01-01'], ['2024-01-02']],
    ['list<int32>', { range: [0, 9] }, ['[]', '[0,null,9]'], ['[0,10]']],
    ['list<string>', { accepted: ['x'] }, ['["x",null]'], ['["x","y"]']],
    ['embedding<2>', { range: [-1, 1] }, ['[-1,1]'], ['[0,1.5]']],
    ['string', { not_null: true }, [''], [null]],
    ['string', { max_length: 2 }, ['ab', '😀é', null], ['abc']],
    ['bytes', { max_length: 2 }, ['', 'AAE='], ['AAEC', 'AAECAw==']],
    ['list<string>', { max_length: 1 }, ['[]', '["long"]'], ['[null,null]']],
  ];
  for (const [type, rule, good, bad] of cases) {
    it(`${JSON.stringify(rule)} of ${type}`, () => {
      const [check] = checksOf(viewOf({ features: { other: 'int32', value: { type, rules: [rule] } } }));
      assert.equal(check?.field, 'value');
      assert.equal(check.column, 2);
      assert.equal(check.on, 'reject');
      for (const cell of good) assert.equal(check.holds(cell), true, `${cell}`);
      for (const cell of bad) assert.equal(check.holds(cell), false, `${cell}`);
    });
  }
});
