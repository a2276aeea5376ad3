import { DuckDBBlobValue, DuckDBListValue, type DuckDBDataChunk, type DuckDBValue } from '@duckdb/node-api';
import { dateFromDays, joinElements, timestampFromMicros, type Cell } from '../../../contract/cells';
import { float32Text } from '../../../contract/numberText';
import type { ScalarType, ValueType } from '../../../contract/valueTypes';

/** The cell of a value that `toPlain` made. */
export function cellOfPlain(type: ValueType, value: DuckDBValue): Cell {
  if (value === null) return null;
  switch (type.kind) {
    case 'embedding':
      return joinElements(
        type,
        listItems(value).map((item) => scalarCell({ kind: 'float32' }, item)),
      );
    case 'list': {
      const { item } = type;
      if (item.kind === 'json') return expectString(value);
      return joinElements(
        type,
        listItems(value).map((element) => scalarCell(item, element)),
      );
    }
    default:
      return scalarCell(type, value);
  }
}

function scalarCell(type: ScalarType, value: DuckDBValue): Cell {
  if (value === null) return null;
  switch (type.kind) {
    case 'bool':
      return value === true ? 'true' : 'false';
    case 'int32':
    case 'int64':
      return String(value);
    case 'float32':
      return Number.isFinite(value) ? float32Text(value as number) : String(value);
    case 'float64':
      return Object.is(value, -0) ? '-0' : String(value);
    case 'string':
    case 'json':
    case 'uuid':
      return expectString(value);
    case 'bytes':
      return Buffer.from(blobBytes(value)).toString('base64');
    case 'timestamp':
      return timestampFromMicros(value as bigint);
    case 'date':
      return dateFromDays(value as number);
    case 'decimal':
      return decimalText(expectString(value));
  }
}

/** DuckDB writes `.50` for a decimal without digits before the point. */
export function decimalText(text: string): string {
  return text.replace(/^(-?)\./, '$10.');
}

export function listItems(value: DuckDBValue): readonly DuckDBValue[] {
  if (value instanceof DuckDBListValue) return value.items;
  throw new TypeError('expected a list from DuckDB');
}

export function blobBytes(value: DuckDBValue): Uint8Array {
  if (value instanceof DuckDBBlobValue) return value.bytes;
  throw new TypeError('expected bytes from DuckDB');
}

export function expectString(value: DuckDBValue): string {
  if (typeof value === 'string') return value;
  throw new TypeError('expected text from DuckDB');
}

/** The rows of a chunk, column by column. */
export function chunkColumns(chunk: DuckDBDataChunk): DuckDBValue[][] {
  return Array.from({ length: chunk.columnCount }, (_, column) => chunk.getColumnValues(column));
}
