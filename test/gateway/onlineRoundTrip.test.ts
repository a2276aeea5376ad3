import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { parseJson } from '../../contract/json';
import { csvRows } from '../../server/online/decode/csvRows';
import type { RowSource } from '../../server/online/decode/rowSource';
import { jsonRows, ndjsonRowsOf, onlineStore, type OnlineStore } from './support/onlineStore';

/** Type → values as JSON writes them, each to come back as exactly this text. */
const values: Record<string, string[]> = {
  bool: ['true', 'false'],
  int32: ['-2147483648', '2147483647', '0'],
  int64: ['-9223372036854775808', '9223372036854775807', '9007199254740993'],
  float32: ['-0.0', '"NaN"', '"Infinity"', '"-Infinity"', '0.1', '3.4028235e+38', '1e-45', '16777216'],
  float64: [
    '-0.0',
    '"NaN"',
    '"Infinity"',
    '"-Infinity"',
    '0.1',
    '5e-324',
    '1.7976931348623157e+308',
    '1e+21',
    '1.2345678901234568e+20',
  ],
  string: [
    '""',
    '"\\\\N"',
    '"\\\\"',
    '"a\\tb\\nc\\r\\nd"',
    '"\\"quoted\\", comma"',
    '"null"',
    '"😀 é \u202e العربية"',
    '"{}"',
    '"__proto__"',
    '"\\u0001"',
  ],
  bytes: ['""', '"AAEC/w=="', '"XE4="'],
  timestamp: [
    '"0001-01-01T00:00:00Z"',
    '"9999-12-31T23:59:59.999999Z"',
    '"1969-12-31T23:59:59.000001Z"',
    '"2024-02-29T12:00:00.100000Z"',
  ],
  date: ['"0001-01-01"', '"9999-12-31"', '"2024-02-29"'],
  'decimal(38,10)': ['"-9999999999999999999999999999.9999999999"', '"0.0000000000"'],
  uuid: ['"123e4567-e89b-12d3-a456-426614174000"'],
  json: ['{"b":1.0,"a":-0.0,"n":null,"1":[]}', '"text"', '12345678901234567890.10', '{"__proto__":1}'],
  'list<int64>': ['[]', '[null]', '[9223372036854775807,null,-1]'],
  'list<float64>': ['[-0.0,"NaN",null,0.1]'],
  'list<string>': ['["",null,"NULL","a,b","\\"","\\\\N\\n{}"]'],
  'list<timestamp>': ['["0001-01-01T00:00:00Z",null]'],
  'list<bytes>': ['["AAEC/w==",null,""]'],
  'list<json>': ['[{"a":[1,null]},null]'],
  'list<bool>': ['[true,null,false]'],
  'embedding<3>': ['[0.1,-0.0,3.4028235e+38]'],
};
const types = Object.keys(values);
const column = (index: number): string => `f${index}`;
const rowCount = Math.max(...Object.values(values).map((list) => list.length)) + 1;
const event = '"event_timestamp":"2024-01-01T00:00:00Z"';

/** Row n has each type's n-th value, or null. */
const rows = Array.from({ length: rowCount }, (_, row) => {
  const members = types.map((type, index) => `"${column(index)}":${values[type]?.[row] ?? 'null'}`);
  return `{"k":${row},${members.join(',')},${event}}`;
});

function csvField(type: string, json: string | undefined): string {
  if (json === undefined) return '';
  const text = json.startsWith('"') && type !== 'json' ? (JSON.parse(json) as string) : json;
  return text === '' || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

describe('every type', () => {
  let store: OnlineStore;
  before(async () => {
    store = await onlineStore();
    await store.publish({
      entities: [{ name: 'e', keys: { k: 'int32' } }],
      views: [
        { name: 'all', entity: 'e', features: Object.fromEntries(types.map((type, index) => [column(index), type])) },
        { name: 'texts', entity: 'e', features: { text: 'string', list: 'list<string>', blob: 'bytes' } },
      ],
    });
  });
  after(() => store.drop());

  const filler = Array.from({ length: 1_001 }, (_, index) => `{"k":${1_000 + index},${event}}`);

  const ways: [string, () => RowSource][] = [
    ['a JSON body', () => jsonRows(`[${rows.join(',')}]`)],
    ['NDJSON, staged', () => ndjsonRowsOf([...rows, ...filler])],
    [
      'CSV',
      () => {
        const lines = Array.from({ length: rowCount }, (_, row) =>
          [row, ...types.map((type) => csvField(type, values[type]?.[row])), '2024-01-01T00:00:00Z'].join(','),
        );
        const header = ['k', ...types.map((_, index) => column(index)), 'event_timestamp'].join(',');
        return csvRows(() => Readable.from([Buffer.from(`\ufeff${[header, ...lines].join('\r\n')}\r\n`)]));
      },
    ],
  ];
  for (const [way, source] of ways) {
    it(`comes back from the online store as it went in by ${way}`, async () => {
      await store.db.query('TRUNCATE features.all_v1');
      const { written } = await store.push('all', source());
      assert.ok(written >= rowCount);
      const text = await store.read({
        features: types.map((_, index) => `all:${column(index)}`),
        entities: { k: Array.from({ length: rowCount }, (_, row) => row) },
      });
      for (const [index, type] of types.entries()) {
        const expected = Array.from({ length: rowCount }, (_, row) => values[type]?.[row] ?? 'null');
        const wanted = `"${column(index)}":{"values":[${expected.join(',')}],"statuses"`;
        const at = text.indexOf(`"${column(index)}":{"values"`);
        assert.equal(text.slice(at, at + wanted.length), wanted, type);
      }
    });
  }

  it('holds for any text, list of texts and bytes, by either way of writing', async function () {
    this.timeout(60_000);
    const text = fc.string({ unit: 'binary' }).filter((value) => !value.includes('\0'));
    const any = fc.record({ text, list: fc.array(fc.option(text)), blob: fc.uint8Array() });
    await fc.assert(
      fc.asyncProperty(fc.array(any, { minLength: 1, maxLength: 20 }), fc.boolean(), async (given, staged) => {
        await store.db.query('TRUNCATE features.texts_v1');
        const sent = given.map(({ text: one, list, blob }) => ({
          text: one,
          list,
          blob: Buffer.from(blob).toString('base64'),
        }));
        const lines = sent.map((row, k) => JSON.stringify({ k, ...row, event_timestamp: '2024-01-01T00:00:00Z' }));
        await store.push('texts', ndjsonRowsOf(staged ? [...lines, ...filler] : lines));
        const columns = await store.get(['texts:text', 'texts:list', 'texts:blob'], { k: [...sent.keys()] });
        assert.deepEqual(
          columns['text']?.values,
          sent.map((row) => row.text),
        );
        assert.deepEqual(
          columns['list']?.values,
          sent.map((row) => row.list),
        );
        assert.deepEqual(
          columns['blob']?.values,
          sent.map((row) => row.blob),
        );
      }),
      { numRuns: 40 },
    );
  });

  it('finds keys of every key type, equal as values', async () => {
    const keys: Record<string, [string, string]> = {
      bool: ['true', 'true'],
      int32: ['-5', '-5.0'],
      int64: ['9223372036854775807', '9223372036854775807'],
      string: ['"é"', '"é"'],
      date: ['"2024-02-29"', '"2024-02-29"'],
      timestamp: ['"2024-02-29T01:00:00+01:00"', '"2024-02-29T00:00:00.000Z"'],
      uuid: ['"123E4567-e89b-12d3-a456-426614174000"', '"123e4567e89b12d3a456426614174000"'],
      'decimal(10,2)': ['1.5', '"1.50"'],
    };
    for (const [type, [written, read]] of Object.entries(keys)) {
      const name = type.replace(/\W.*/, '');
      await store.publish({
        entities: [{ name: `by_${name}`, keys: { id: type } }],
        views: [{ name: `of_${name}`, entity: `by_${name}`, features: { value: 'int32' } }],
      });
      await store.push(`of_${name}`, jsonRows(`[{"id":${written},"value":1,${event}}]`));
      const ids = [parseJson(read)];
      assert.deepEqual((await store.get([`of_${name}:value`], { id: ids }))['value']?.values, [1], type);
    }
  });
});
