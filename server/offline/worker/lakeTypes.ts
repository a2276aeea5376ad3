import type { ScalarType, ValueType } from '../../../contract/valueTypes';

/**
 * The DuckDB type of a column in the lake and in training sets. `json` is VARCHAR, because DuckDB's JSON functions would
 * rewrite its numbers; for the same reason a list of json is one JSON text. `FLOAT[n]` is refused by DuckLake.
 */
export function lakeType(type: ValueType): string {
  switch (type.kind) {
    case 'list':
      return type.item.kind === 'json' ? 'VARCHAR' : `${scalarType(type.item)}[]`;
    case 'embedding':
      return 'FLOAT[]';
    default:
      return scalarType(type);
  }
}

function scalarType(type: ScalarType): string {
  switch (type.kind) {
    case 'bool':
      return 'BOOLEAN';
    case 'int32':
      return 'INTEGER';
    case 'int64':
      return 'BIGINT';
    case 'float32':
      return 'FLOAT';
    case 'float64':
      return 'DOUBLE';
    case 'string':
    case 'json':
      return 'VARCHAR';
    case 'bytes':
      return 'BLOB';
    case 'timestamp':
      return 'TIMESTAMPTZ';
    case 'date':
      return 'DATE';
    case 'decimal':
      return `DECIMAL(${type.precision},${type.scale})`;
    case 'uuid':
      return 'UUID';
  }
}

/** SQL: a canonical cell (VARCHAR or NULL) → the lake's value. */
export function fromCell(type: ValueType, cell: string): string {
  switch (type.kind) {
    case 'list':
      return type.item.kind === 'json' ? cell : listFromCell(type.item, cell);
    case 'embedding':
      return listFromCell({ kind: 'float32' }, cell);
    default:
      return scalarFromCell(type, cell);
  }
}

function scalarFromCell(type: ScalarType, cell: string): string {
  if (type.kind === 'bytes') return `from_base64(${cell})`;
  return type.kind === 'string' || type.kind === 'json' ? cell : `CAST(${cell} AS ${scalarType(type)})`;
}

/** Elements are taken out as text, so that int64, decimals and "NaN" pass through no float64. */
function listFromCell(item: ScalarType, cell: string): string {
  const texts = `from_json(${cell}, '["VARCHAR"]')`;
  if (item.kind === 'bytes') return `list_transform(${texts}, lambda e: from_base64(e))`;
  return item.kind === 'string' ? texts : `CAST(${texts} AS ${scalarType(item)}[])`;
}

/**
 * SQL: the lake's value → a form that JavaScript reads without loss: times as microseconds and dates as days since 1970,
 * decimals and uuids as text, lists of those.
 */
export function toPlain(type: ValueType, value: string): string {
  if (type.kind === 'embedding') return value;
  if (type.kind !== 'list') return scalarToPlain(type, value);
  if (type.item.kind === 'json' || scalarToPlain(type.item, 'e') === 'e') return value;
  return `list_transform(${value}, lambda e: ${scalarToPlain(type.item, 'e')})`;
}

function scalarToPlain(type: ScalarType, value: string): string {
  switch (type.kind) {
    case 'timestamp':
      return `epoch_us(${value})`;
    case 'date':
      return `CAST(${value} - DATE '1970-01-01' AS INTEGER)`;
    case 'decimal':
    case 'uuid':
      return `CAST(${value} AS VARCHAR)`;
    default:
      return value;
  }
}
