import assert from 'node:assert/strict';
import { readJsonRows } from '../../../server/online/decode/jsonRows';
import { ndjsonRows } from '../../../server/online/decode/ndjsonRows';
import type { RowSource } from '../../../server/online/decode/rowSource';
import { decode, inPieces, refusalOf, viewOf } from './decoding';

const view = viewOf({ features: { temp: 'float64', wind: 'int64', note: 'string', extra: 'json' } });
const event = '"event_timestamp":"2024-01-01T00:00:00Z"';

function body(rows: string): RowSource {
  const read = readJsonRows(`{"rows":${rows}}`);
  if (read.kind !== 'rows') throw new Error('no rows');
  return read.source;
}

describe('rows in JSON', () => {
  it('become cells; what is absent is null', async () => {
    const rows = `[{"origin":"JFK","wind":9007199254740993,"extra":{"b":1.0,"a":-0.0},${event},"created_timestamp":"2024-01-01T01:00:00.5+01:00"}]`;
    const decoded = await decode(view, body(rows));
    assert.deepEqual(decoded.problems, []);
    assert.deepEqual(decoded.rows, [
      {
        origin: 'JFK',
        wind: '9007199254740993',
        extra: '{"b":1.0,"a":-0.0}',
        event_timestamp: '2024-01-01T00:00:00Z',
        created_timestamp: '2024-01-01T00:00:00.500000Z',
      },
    ]);
  });

  it('are told apart: every problem with its row and field, and good rows go on', async () => {
    const decoded = await decode(
      view,
      body(`[
        {"origin":"JFK","tmep":1,"zzz":2,${event}},
        {"origin":null,"temp":"warm",${event}},
        {"temp":1},
        ["JFK"],
        {"origin":"LGA",${event}},
        {"__proto__":{"origin":"X"},"constructor":1,"origin":"EWR",${event}},
        {"origin":"EWR","event_timestamp":"2024-01-01T00:00:00"}
      ]`),
    );
    assert.deepEqual(decoded.numbers, [4]);
    assert.deepEqual(
      decoded.problems.map(({ row, field, code }) => [row, field, code]),
      [
        [0, 'tmep', 'unknown_column'],
        [0, 'zzz', 'unknown_column'],
        [1, 'temp', 'wrong_type'],
        [1, 'origin', 'missing_value'],
        [2, 'origin', 'missing_value'],
        [2, 'event_timestamp', 'missing_value'],
        [3, undefined, 'bad_row'],
        [5, '__proto__', 'unknown_column'],
        [5, 'constructor', 'unknown_column'],
        [6, 'event_timestamp', 'no_zone'],
      ],
    );
    assert.match(decoded.problems[0]?.expected ?? '', /^temp, perhaps; the columns are origin, temp/);
    assert.match(decoded.problems[1]?.expected ?? '', /^one of origin, temp/);
    assert.equal(decoded.bad.badRows, 6);
  });

  it('are all counted, and the first hundred problems listed', async () => {
    const rows = Array.from({ length: 250 }, () => '{"origin":1}');
    const { bad, problems } = await decode(view, body(`[${rows.join(',')}]`));
    assert.equal(problems.length, 100);
    assert.equal(bad.badRows, 250);
    const refusal = bad.refusal('weather');
    assert.match(refusal.detail, /500 problems in 250 of its rows, of which the first 100 are listed/);
    assert.match(refusal.detail, /Row 0, origin: found 1, expected a string/);
    assert.equal(refusal.toDocument().problems?.length, 100);
  });

  it('may name a dataset instead', () => {
    assert.deepEqual(readJsonRows('{"dataset":"weather"}'), {
      kind: 'dataset',
      dataset: 'weather',
      version: undefined,
    });
    assert.deepEqual(readJsonRows('{"dataset":"weather","version":3}'), {
      kind: 'dataset',
      dataset: 'weather',
      version: 3,
    });
  });

  it('are refused whole when the body is something else', async () => {
    const cases: [string, string, RegExp][] = [
      ['{"rows":[', 'bad_json', /found the end/],
      ['[]', 'bad_body', /expected \{"rows"/],
      ['{"rows":[],"dataset":"x"}', 'bad_body', /both/],
      ['{"rows":{}}', 'bad_body', /neither/],
      ['{"row":[]}', 'bad_body', /member "row"/],
      ['{"__proto__":[]}', 'bad_body', /member "__proto__"/],
      ['{"dataset":"x","version":0}', 'bad_body', /version/],
      ['{"rows":[{"a":1,"a":2}]}', 'duplicate_key', /twice/],
    ];
    for (const [text, code, words] of cases) {
      const refusal = await refusalOf(() => readJsonRows(text));
      assert.equal(refusal.code, code, text);
      assert.match(refusal.detail, words);
    }
  });
});

describe('rows in NDJSON', () => {
  const lines = (text: string | Buffer, size?: number): RowSource => ndjsonRows(inPieces(text, size));

  it('are read line by line however the bytes are cut, with either line end, blank lines and a byte order mark', async () => {
    const text = `\ufeff{"origin":"Zürich 😀",${event}}\r\n\n  \n{"origin":"a\\nb",${event}}`;
    for (const size of [1, 2, 3, 5, 1_000]) {
      const decoded = await decode(view, lines(text, size));
      assert.deepEqual(decoded.problems, []);
      assert.deepEqual(
        decoded.rows.map((row) => row['origin']),
        ['Zürich 😀', 'a\nb'],
      );
    }
  });

  it('have their bad lines told, and the others read', async () => {
    const decoded = await decode(view, lines(`{"origin":"A",${event}}\n{"origin":\n5\n{"origin":"B",${event}}\n`));
    assert.deepEqual(decoded.numbers, [0, 3]);
    assert.deepEqual(
      decoded.problems.map(({ row, code }) => [row, code]),
      [
        [1, 'bad_json'],
        [2, 'bad_row'],
      ],
    );
  });

  it('must be UTF-8', async () => {
    const latin1 = Buffer.from(`{"origin":"Z\u00fcrich",${event}}\n`, 'latin1');
    assert.equal((await refusalOf(decode(view, lines(latin1)))).code, 'bad_encoding');
    assert.equal(
      (await refusalOf(decode(view, lines(Buffer.from('{"origin":"é').subarray(0, -1))))).code,
      'bad_encoding',
    );
  });

  it('end at 12 MB a line', async () => {
    const long = `{"origin":"${'x'.repeat(12 * 1024 * 1024)}"`;
    assert.equal((await refusalOf(decode(view, lines(long, 1 << 20)))).code, 'row_too_large');
  });

  it('come in batches of bounded size', async () => {
    const count = 10_000;
    const text = `{"origin":"A",${event}}\n`.repeat(count);
    const sizes: number[] = [];
    const decoded = await decode(view, async function* (...given) {
      for await (const batch of lines(text, 1 << 16)(...given)) {
        sizes.push(batch.rows.length);
        yield batch;
      }
    });
    assert.equal(decoded.rows.length, count);
    assert.ok(Math.max(...sizes) <= 4_096);
  });
});
