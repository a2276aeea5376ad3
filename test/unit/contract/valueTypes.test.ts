import assert from 'node:assert/strict';
import { columnWidth, formatValueType, isKeyType, parseValueType } from '../../../contract/valueTypes';

const plain = 'bool int32 int64 float32 float64 string bytes timestamp date uuid json'.split(' ');

describe('value types', () => {
  it('reads and writes every type', () => {
    const compound = [
      'decimal(10,2)',
      'decimal(38,0)',
      'decimal(38,38)',
      'decimal(1,0)',
      'embedding<1>',
      'embedding<16000>',
    ];
    const lists = [...plain, 'decimal(10,2)'].map((item) => `list<${item}>`);
    for (const text of [...plain, ...compound, ...lists]) assert.equal(formatValueType(parseValueType(text)), text);
    assert.deepEqual(parseValueType('decimal(10, 2)'), { kind: 'decimal', precision: 10, scale: 2 });
    assert.deepEqual(parseValueType('list<int64>'), { kind: 'list', item: { kind: 'int64' } });
    assert.deepEqual(parseValueType('embedding<3>'), { kind: 'embedding', size: 3 });
  });

  const suggestions: [string, string][] = [
    ['double', 'float64'],
    ['DOUBLE', 'float64'],
    ['Float64', 'float64'],
    ['float', 'float64'],
    ['real', 'float32'],
    ['int', 'int32'],
    ['bigint', 'int64'],
    ['text', 'string'],
    ['varchar(20)', 'string'],
    ['boolean', 'bool'],
    ['datetime', 'timestamp'],
    ['timestamp with time zone', 'timestamp'],
    ['jsonb', 'json'],
    ['bytea', 'bytes'],
    ['strng', 'string'],
    ['flaot64', 'float64'],
    ['decimal', 'decimal(18,2)'],
    ['decimal(10)', 'decimal(10,0)'],
    ['numeric(10,2)', 'decimal(10,2)'],
    ['vector(768)', 'embedding<768>'],
    ['embedding(3)', 'embedding<3>'],
    ['int64[]', 'list<int64>'],
    ['double[]', 'list<float64>'],
    ['array<string>', 'list<string>'],
    ['Array(Int64)', 'list<int64>'],
    ['list<double>', 'list<float64>'],
    ['List<Int64>', 'list<int64>'],
  ];
  for (const [text, suggestion] of suggestions) {
    it(`answers ${text} with ${suggestion}`, () => {
      assert.throws(
        () => parseValueType(text),
        (error: Error) => error instanceof TypeError && error.message.includes(`Did you mean ${suggestion}?`),
      );
    });
  }

  const refused: [string, RegExp][] = [
    ['', /Bad type "": expected one of bool/],
    ['list<>', /expected one of bool/],
    ['list<list<int64>>', /expected a list of scalars/],
    ['list<embedding<3>>', /expected a list of scalars/],
    ['decimal(0,0)', /expected decimal\(p,s\) with p from 1 to 38/],
    ['decimal(39,0)', /expected decimal\(p,s\) with p from 1 to 38/],
    ['decimal(5,6)', /and s from 0 to p/],
    ['embedding<0>', /n from 1 to 16000/],
    ['embedding<16001>', /n from 1 to 16000/],
    ['list<decimal(39,0)>', /expected decimal\(p,s\) with p from 1 to 38/],
    ['__proto__', /expected one of bool/],
    ['constructor', /expected one of bool/],
    ['list<'.repeat(1_000_000), /expected one of bool/],
    ['x'.repeat(5_000), /Bad type "x{60}…"/],
  ];
  for (const [text, words] of refused) {
    it(`refuses ${text.slice(0, 30)}`, () => {
      assert.throws(() => parseValueType(text), { name: 'TypeError', message: words });
    });
  }

  it('allows as keys what compares exactly', () => {
    const keys = [...plain, 'decimal(4,0)', 'list<int64>', 'embedding<3>'].filter((text) =>
      isKeyType(parseValueType(text)),
    );
    assert.deepEqual(keys, ['bool', 'int32', 'int64', 'string', 'timestamp', 'date', 'uuid', 'decimal(4,0)']);
  });

  it('lets 800 float64 features into a row, and 312 strings but not 313', () => {
    const width = (count: number, text: string): number => count * columnWidth(parseValueType(text));
    assert.ok(width(800, 'float64') <= 7_500);
    assert.ok(width(312, 'string') <= 7_500);
    assert.ok(width(313, 'string') > 7_500);
  });
});
