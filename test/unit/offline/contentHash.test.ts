import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { DuckDBBlobValue, DuckDBListValue, type DuckDBValue } from '@duckdb/node-api';
import fc from 'fast-check';
import { parseValueType } from '../../../contract/valueTypes';
import { ContentHash } from '../../../server/offline/contentHash';

/** A cell's bytes by the words of docs/semantics.md, one Buffer at a time. */
function cellBytes(type: string, value: DuckDBValue): Buffer {
  if (value === null) return Buffer.from([0]);
  return Buffer.concat([Buffer.from([1]), valueBytes(type, value)]);
}

function valueBytes(type: string, value: DuckDBValue): Buffer {
  const list = /^list<(.*)>$/.exec(type)?.[1] ?? (type.startsWith('embedding') ? 'float32' : undefined);
  if (list !== undefined) {
    const { items } = value as DuckDBListValue;
    return Buffer.concat([uint32(items.length), ...items.map((item) => cellBytes(list, item))]);
  }
  const number = Buffer.alloc(8);
  switch (type) {
    case 'bool':
      return Buffer.from([value === true ? 1 : 0]);
    case 'int32':
    case 'date':
      number.writeInt32LE(value as number);
      return number.subarray(0, 4);
    case 'int64':
    case 'timestamp':
      number.writeBigInt64LE(value as bigint);
      return number;
    case 'float32':
      if (Number.isNaN(value)) return Buffer.from('0000c07f', 'hex');
      number.writeFloatLE(value as number);
      return number.subarray(0, 4);
    case 'float64':
      if (Number.isNaN(value)) return Buffer.from('000000000000f87f', 'hex');
      number.writeDoubleLE(value as number);
      return number;
    case 'bytes':
      return prefixed(Buffer.from((value as DuckDBBlobValue).bytes));
    case 'uuid':
      return Buffer.from((value as string).replaceAll('-', ''), 'hex');
    default:
      return prefixed(Buffer.from(value as string));
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function prefixed(bytes: Buffer): Buffer {
  return Buffer.concat([uint32(bytes.length), bytes]);
}

function hashOf(types: string[], rows: DuckDBValue[][], chunkRows = rows.length): string {
  const hash = new ContentHash(types.map(parseValueType));
  for (let at = 0; at < rows.length; at += chunkRows) {
    const some = rows.slice(at, at + chunkRows);
    hash.update(types.map((_, column) => some.map((row) => row[column] ?? null)));
  }
  return hash.digest();
}

const values: Record<string, fc.Arbitrary<DuckDBValue>> = {
  bool: fc.boolean(),
  int32: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  date: fc.integer({ min: -719162, max: 2932896 }),
  int64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  timestamp: fc.bigInt({ min: -62135596800000000n, max: 253402300799999999n }),
  float32: fc.float(),
  float64: fc.double(),
  string: fc.string({ unit: 'binary', maxLength: 40 }),
  json: fc.json(),
  'decimal(9,2)': fc.integer({ min: -99999, max: 99999 }).map((cents) => `${cents}.25`),
  uuid: fc.uuid(),
  bytes: fc.uint8Array({ maxLength: 20 }).map((bytes) => new DuckDBBlobValue(bytes)),
};
const listOf = (item: fc.Arbitrary<DuckDBValue>): fc.Arbitrary<DuckDBValue> =>
  fc.array(fc.option(item), { maxLength: 5 }).map((items) => new DuckDBListValue(items));

describe('content hash', () => {
  it('is that of the plain encoding, for every type and however the rows come in chunks', () => {
    const types = [...Object.keys(values), 'list<float64>', 'list<string>', 'embedding<2>'];
    const cell = (type: string): fc.Arbitrary<DuckDBValue> => {
      const item = /^list<(.*)>$/.exec(type)?.[1];
      if (item !== undefined) return fc.option(listOf(values[item] ?? fc.constant(null)));
      if (type === 'embedding<2>') return fc.option(listOf(fc.float()));
      return fc.option(values[type] ?? fc.constant(null));
    };
    const rows = fc.array(fc.tuple(...types.map(cell)), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(rows, fc.integer({ min: 1, max: 20 }), (table, chunkRows) => {
        const plain = createHash('sha256');
        for (const row of table) types.forEach((type, column) => plain.update(cellBytes(type, row[column] ?? null)));
        assert.equal(hashOf(types, table, chunkRows), plain.digest('hex'));
      }),
    );
  });

  it('keeps -0, makes every NaN one, and tells null from empty', () => {
    assert.notEqual(hashOf(['float64'], [[0]]), hashOf(['float64'], [[-0]]));
    const oddNaN = new Float64Array(new BigUint64Array([0xfff8000000000001n]).buffer)[0] ?? 0;
    assert.equal(hashOf(['float64'], [[NaN]]), hashOf(['float64'], [[oddNaN]]));
    assert.notEqual(hashOf(['string'], [['']]), hashOf(['string'], [[null]]));
    assert.notEqual(hashOf(['list<int32>'], [[new DuckDBListValue([])]]), hashOf(['list<int32>'], [[null]]));
  });

  it('reads texts and bytes longer than its buffer', () => {
    const long = 'é'.repeat(300_000);
    const bytes = new DuckDBBlobValue(new Uint8Array(600_000).fill(7));
    const plain = createHash('sha256');
    for (const [type, value] of [
      ['string', 'a'],
      ['string', long],
      ['bytes', bytes],
      ['string', 'b'],
    ] as const) {
      plain.update(cellBytes(type, value));
    }
    assert.equal(hashOf(['string', 'string', 'bytes', 'string'], [['a', long, bytes, 'b']]), plain.digest('hex'));
  });

  it('takes a decimal without digits before its point as the canonical text', () => {
    assert.equal(hashOf(['decimal(2,2)'], [['.50'], ['-.25']]), hashOf(['decimal(2,2)'], [['0.50'], ['-0.25']]));
  });
});
