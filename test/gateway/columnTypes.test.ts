import assert from 'node:assert/strict';
import fc from 'fast-check';
import { after, before, describe, it } from 'mocha';
import { cellFromJson, timestampFromMicros, dateFromDays, type Cell } from '../../contract/cells';
import { parseJson, printJson } from '../../contract/json';
import { formatValueType, parseValueType, type ScalarType, type ValueType } from '../../contract/valueTypes';
import { columnType, fromPostgres, toPostgres } from '../../server/postgres/columnTypes';
import { freshDatabase, type TestDatabase } from './support/postgres';

const scalars = [
  ...['bool', 'int32', 'int64', 'float32', 'float64', 'string', 'bytes', 'timestamp', 'date', 'uuid', 'json'],
  'decimal(10,2)',
  'decimal(38,0)',
  'decimal(38,38)',
].map((text) => parseValueType(text) as ScalarType);
const types: ValueType[] = [
  ...scalars,
  ...scalars.map((item): ValueType => ({ kind: 'list', item })),
  { kind: 'embedding', size: 3 },
];

/** Values as JSON says them, with the awkward ones often. */
function jsonText(type: ValueType): fc.Arbitrary<string> {
  switch (type.kind) {
    case 'bool':
      return fc.boolean().map(String);
    case 'int32':
      return fc.integer().map(String);
    case 'int64':
      return fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n).map(String);
    case 'float32':
      return floatText(fc.float());
    case 'float64':
      return floatText(fc.double());
    case 'string':
      return text().map((value) => JSON.stringify(value));
    case 'bytes':
      return fc.uint8Array().map((bytes) => JSON.stringify(Buffer.from(bytes).toString('base64')));
    case 'timestamp':
      return fc
        .bigInt(-62_135_596_800_000_000n, 253_402_300_799_999_999n)
        .chain((micros) => fc.constantFrom(micros, micros - (micros % 1_000_000n)))
        .map((micros) => JSON.stringify(timestampFromMicros(micros)));
    case 'date':
      return fc.integer({ min: -719_162, max: 2_932_896 }).map((days) => JSON.stringify(dateFromDays(days)));
    case 'decimal':
      return fc
        .bigInt(-(10n ** BigInt(type.precision)) + 1n, 10n ** BigInt(type.precision) - 1n)
        .map((units) => `"${units}e-${type.scale}"`);
    case 'uuid':
      return fc.uuid().map((uuid) => JSON.stringify(uuid));
    case 'json':
      return fc.oneof(
        fc.json().filter((json) => !/\\u(0000|d[89a-f])/.test(json)),
        fc.constantFrom(
          '{"b":1,"a":-0.0,"a2":1e400}',
          '12345678901234567890.10',
          '[ 1, {"x":null} ]',
          '"\\\\ \\" {},"',
        ),
      );
    case 'list':
      return fc.array(fc.option(jsonText(type.item), { nil: 'null' })).map((items) => `[${items.join(',')}]`);
    case 'embedding':
      return fc
        .array(jsonText({ kind: 'float32' }), { minLength: type.size, maxLength: type.size })
        .map((items) => `[${items.join(',')}]`);
  }
}

function floatText(number: fc.Arbitrary<number>): fc.Arbitrary<string> {
  return fc
    .oneof({ weight: 5, arbitrary: number }, fc.constantFrom(-0, 0, NaN, Infinity, -Infinity, 5e-324, 1e21, 1e20))
    .map((value) => (Number.isFinite(value) ? printJson(value) : `"${value}"`));
}

function text(): fc.Arbitrary<string> {
  return fc.oneof(
    fc.string({ unit: 'grapheme' }).filter((value) => !value.includes('\0')),
    fc.constantFrom('', 'NULL', 'null', '{}', '"', '\\', 'a,b', "it's", ' lead', '\n', '\u202e', '{"a":"\\"}'),
  );
}

/** What a cell is, or undefined when the value is refused at the door (5e-324 in a float32). */
function cellOf(type: ValueType, json: string): Cell | undefined {
  try {
    return cellFromJson(type, parseJson(json, { verbatim: true }));
  } catch {
    return undefined;
  }
}

/** Two texts may name one float32, and Postgres may choose the other. */
function comparable(type: ValueType, cell: Cell): unknown {
  if (cell === null) return null;
  const one = (value: string): number => Math.fround(Number(value));
  if (type.kind === 'float32') return one(cell);
  if (type.kind === 'embedding' || (type.kind === 'list' && type.item.kind === 'float32'))
    return (JSON.parse(cell) as (string | number | null)[]).map((value) =>
      value === null ? null : one(String(value)),
    );
  return cell;
}

describe('column types', () => {
  let database: TestDatabase;
  before(async () => {
    database = await freshDatabase();
  });
  after(() => database.drop());

  for (const type of types) {
    it(`${formatValueType(type)} comes back from Postgres as it went in`, async () => {
      const { db } = database;
      const table = `round_trip_${types.indexOf(type)}`;
      await db.query(`CREATE TABLE ${table} (n int, v ${columnType(type)})`);
      const cast = toPostgres(type).cast('u.cell');
      await fc.assert(
        fc.asyncProperty(fc.array(fc.option(jsonText(type), { nil: 'null' }), { maxLength: 30 }), async (texts) => {
          const cells = texts.map((json) => cellOf(type, json)).filter((cell) => cell !== undefined);
          await db.query(`TRUNCATE ${table}`);
          await db.query(
            `INSERT INTO ${table} SELECT u.n, ${cast} FROM unnest($1::text[]) WITH ORDINALITY AS u(cell, n)`,
            [cells],
          );
          const { rows } = await db.query<{ v: string | null }>(`SELECT v FROM ${table} ORDER BY n`);
          assert.deepEqual(
            rows.map(({ v }) => comparable(type, fromPostgres(type, v))),
            cells.map((cell) => comparable(type, cell)),
          );
        }),
        { numRuns: 30 },
      );
    });
  }

  it('an empty list is no null, and null elements stay', async () => {
    const type = parseValueType('list<string>');
    const cast = toPostgres(type).cast('u.cell');
    const { rows } = await database.db.query<{ v: string | null }>(
      `SELECT ${cast} AS v FROM unnest($1::text[]) WITH ORDINALITY AS u(cell, n) ORDER BY n`,
      [['[]', null, '[null]', '["NULL",null,""]']],
    );
    assert.deepEqual(
      rows.map(({ v }) => fromPostgres(type, v)),
      ['[]', null, '[null]', '["NULL",null,""]'],
    );
  });
});
