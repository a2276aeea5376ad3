import assert from 'node:assert/strict';
import fc from 'fast-check';
import { csvRecords, type CsvRecord } from '../../../server/online/decode/csvRecords';

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
});
