import { createHash } from 'node:crypto';
import { splitElements } from '../../contract/cells';
import type { DuckDBValue } from '@duckdb/node-api';
import type { ScalarType, ValueType } from '../../contract/valueTypes';
import { blobBytes, decimalText, expectString, listItems } from './worker/plainValues';

/**
 * SHA-256 over rows in order, the same on any engine (docs/semantics.md, "Identity"). Each cell is one byte, 0 for null or 1, and
 * then, little-endian: bool 1 byte; int32 and date (days since 1970) 4; int64 and timestamp (µs since 1970) 8; float32 4 and
 * float64 8, every NaN as the quiet one, -0 kept; string, bytes, json and decimal (canonical text) a length of 4 bytes and the
 * bytes; uuid its 16 bytes as written; a list or embedding a count of 4 bytes and its elements as cells.
 */
export class ContentHash {
  private readonly hash = createHash('sha256');
  private readonly out = new ByteWriter((bytes) => this.hash.update(bytes));
  private readonly write: ((value: DuckDBValue) => void)[];

  constructor(types: readonly ValueType[]) {
    this.write = types.map((type) => cellWriter(type, this.out));
  }

  /** Columns of equal length, of values in the form of `toPlain` (worker/lakeTypes.ts). */
  update(columns: readonly (readonly DuckDBValue[])[]): void {
    const rows = columns[0]?.length ?? 0;
    const { write } = this;
    const width = write.length;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < width; column++) write[column]?.(columns[column]?.[row] ?? null);
    }
  }

  digest(): string {
    this.out.flush();
    return this.hash.digest('hex');
  }
}

function cellWriter(type: ValueType, out: ByteWriter): (value: DuckDBValue) => void {
  const writeValue = valueWriter(type, out);
  return (value) => {
    if (value === null) {
      out.byte(0);
      return;
    }
    out.byte(1);
    writeValue(value);
  };
}

function valueWriter(type: ValueType, out: ByteWriter): (value: DuckDBValue) => void {
  if (type.kind === 'embedding') return listWriter({ kind: 'float32' }, out);
  if (type.kind === 'list' && type.item.kind === 'json') {
    const element = cellWriter({ kind: 'json' }, out);
    return (value) => {
      const cells = splitElements(type, expectString(value));
      out.uint32(cells.length);
      cells.forEach(element);
    };
  }
  if (type.kind === 'list') return listWriter(type.item, out);
  return scalarWriter(type, out);
}

function listWriter(item: ScalarType, out: ByteWriter): (value: DuckDBValue) => void {
  const element = cellWriter(item, out);
  return (value) => {
    const items = listItems(value);
    out.uint32(items.length);
    items.forEach(element);
  };
}

function scalarWriter(type: ScalarType, out: ByteWriter): (value: DuckDBValue) => void {
  switch (type.kind) {
    case 'bool':
      return (value) => out.byte(value === true ? 1 : 0);
    case 'int32':
    case 'date':
      return (value) => out.int32(value as number);
    case 'int64':
    case 'timestamp':
      return (value) => out.int64(value as bigint);
    case 'float32':
      return (value) => out.float32(value as number);
    case 'float64':
      return (value) => out.float64(value as number);
    case 'string':
    case 'json':
      return (value) => out.text(expectString(value));
    case 'decimal':
      return (value) => out.text(decimalText(expectString(value)));
    case 'bytes':
      return (value) => out.bytes(blobBytes(value));
    case 'uuid':
      return (value) => out.raw(Buffer.from(expectString(value).replaceAll('-', ''), 'hex'));
  }
}

const BUFFER_BYTES = 256 * 1024;
const LONGEST_NUMBER = 8;
const FLOAT32_NAN = 0x7fc00000;
const FLOAT64_NAN = 0x7ff8000000000000n;

/** Gathers bytes, so that the hash is called once a buffer and not once a cell. */
class ByteWriter {
  private readonly buffer = Buffer.allocUnsafe(BUFFER_BYTES);
  private readonly view = new DataView(this.buffer.buffer, this.buffer.byteOffset, BUFFER_BYTES);
  private at = 0;

  constructor(private readonly sink: (bytes: Uint8Array) => void) {}

  flush(): void {
    if (this.at > 0) this.sink(this.buffer.subarray(0, this.at));
    this.at = 0;
  }

  byte(value: number): void {
    this.view.setUint8(this.take(1), value);
  }

  uint32(value: number): void {
    this.view.setUint32(this.take(4), value, true);
  }

  int32(value: number): void {
    this.view.setInt32(this.take(4), value, true);
  }

  int64(value: bigint): void {
    this.view.setBigInt64(this.take(8), value, true);
  }

  float32(value: number): void {
    if (Number.isNaN(value)) this.uint32(FLOAT32_NAN);
    else this.view.setFloat32(this.take(4), value, true);
  }

  float64(value: number): void {
    if (Number.isNaN(value)) this.view.setBigUint64(this.take(8), FLOAT64_NAN, true);
    else this.view.setFloat64(this.take(8), value, true);
  }

  text(value: string): void {
    // A UTF-16 unit takes at most three bytes.
    if (value.length * 3 > BUFFER_BYTES - LONGEST_NUMBER) {
      this.bytes(Buffer.from(value, 'utf8'));
      return;
    }
    if (this.at + 4 + value.length * 3 > BUFFER_BYTES) this.flush();
    const lengthAt = this.take(4);
    const length = this.buffer.write(value, this.at, 'utf8');
    this.view.setUint32(lengthAt, length, true);
    this.at += length;
  }

  bytes(value: Uint8Array): void {
    this.uint32(value.length);
    this.raw(value);
  }

  raw(value: Uint8Array): void {
    if (value.length > BUFFER_BYTES - this.at) this.flush();
    if (value.length > BUFFER_BYTES) {
      this.sink(value);
      return;
    }
    this.buffer.set(value, this.at);
    this.at += value.length;
  }

  /** Room for so many bytes; answers where they begin. */
  private take(bytes: number): number {
    if (this.at + bytes > BUFFER_BYTES) this.flush();
    const start = this.at;
    this.at += bytes;
    return start;
  }
}
