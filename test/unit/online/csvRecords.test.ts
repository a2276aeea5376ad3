import assert from 'node:assert/strict';
import fc from 'fast-check';
import { csvRecords, type CsvRecord } from '../../../server/online/decode/csvRecords';
import { MAX_ROW_BYTES } from '../../../server/online/decode/rowSource';
import { refusalOf } from './decoding';

async function read(text: string, size: number): Promise<CsvRecord[]> {
  // eslint-disable-next-line @typescript-eslint/require-await
  const pieces = async function* (): AsyncGenerator<string, void> {
    for (let at = 0; at < text.length; at += size) yield text.slice(at, at + size);
  };
  const records: CsvRecord[] = [];
  for await (const some of csvRecords(pieces())) records.push(...some);
  return records;
}

/** Quoted where it must be, and where `always` says. */
function write(field: string | null, always: boolean): string {
  if (field === null) return '';
  return always || field === '' || /[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
}

describe('CSV records', () => {
  it('come back as they were written, wherever the text is cut', async () => {
    const text = fc.oneof(fc.string({ unit: fc.constantFrom('"', ',', '\n', '\r', 'a', ' ') }), fc.string());
    const field = fc.option(text);
    const record = fc.array(field, { minLength: 2, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(record, { maxLength: 6 }),
        fc.constantFrom('\n', '\r\n'),
        fc.boolean(),
        fc.boolean(),
        fc.integer({ min: 1, max: 9 }),
        async (records, end, always, ended, size) => {
          const lines = records.map((fields) => fields.map((one) => write(one, always)).join(','));
          const read1 = await read(lines.join(end) + (ended ? end : ''), size);
          assert.deepEqual(
            read1.map(({ fields }) => fields),
            records,
          );
          let line = 1;
          for (const [index, { line: told }] of read1.entries()) {
            assert.equal(told, line);
            line += 1 + (lines[index]?.split('\n').length ?? 1) - 1;
          }
        },
      ),
    );
  });

  it('skip blank lines and count them', async () => {
    assert.deepEqual(await read('\n\r\na,b\n\n"",\n', 2), [
      { fields: ['a', 'b'], line: 3 },
      { fields: ['', null], line: 5 },
    ]);
  });

  it('tell "" from nothing beside quotes of every kind', async () => {
    assert.deepEqual(await read('"a""b",,"","é""ß",""\r\n"""",\ra,"\n","",\r\n""', 5), [
      { fields: ['a"b', null, '', 'é"ß', ''], line: 1 },
      { fields: ['"', '\ra', '\n', '', null], line: 2 },
      { fields: [''], line: 4 },
    ]);
  });

  const broken: [string, string, RegExp][] = [
    ['a quote in the middle of a field', 'x,y"z', /middle of a field/],
    ['something after a closing quote', '"x"y,z', /after a closing quote/],
    ['a quote that is never closed', 'x,"y\nz\n', /no closing quote/],
  ];
  for (const [what, row, words] of broken) {
    it(`are refused for ${what}, with the line on which the row begins`, async () => {
      for (const size of [1, 7, 1_000]) {
        const refusal = await refusalOf(read(`\na,"b\r\nc"\r\n\r\nd,e\n${row}`, size));
        assert.equal(refusal.code, 'bad_csv');
        assert.match(refusal.detail, /begins on line 6:/);
        assert.match(refusal.detail, words);
      }
    });
  }

  it('may be large, and are refused beyond the limit, be it of text or of commas', async () => {
    const size = 1 << 20;
    const most = 'x'.repeat(MAX_ROW_BYTES - size);
    const read2 = await read(`a\n${most}\n`.repeat(2), size);
    assert.deepEqual(
      read2.map(({ fields, line }) => [line, fields.length, fields[0] === (line % 2 === 1 ? 'a' : most)]),
      [1, 2, 3, 4].map((line) => [line, 1, true]),
    );
    for (const one of ['x', ',']) {
      const refusal = await refusalOf(read(`a\n${one.repeat(MAX_ROW_BYTES + 2 * size)}`, size));
      assert.equal(refusal.code, 'bad_csv');
      assert.match(refusal.detail, /line 2: a row has more than/);
    }
  });
});
