import { cellToJson, type Cell } from '../../contract/cells';
import type { ScalarType, ValueType } from '../../contract/valueTypes';

/**
 * The Postgres type of a column, as SQL. `json` and not jsonb, which turns -0.0 into 0 and reorders members. String keys
 * are compared by bytes, so that both write paths and DuckDB sort alike.
 */
export function columnType(type: ValueType, role: 'key' | 'feature' = 'feature'): string {
  switch (type.kind) {
    case 'list':
      return `${scalarType(type.item)}[]`;
    case 'embedding':
      return 'real[]';
    case 'string':
      return role === 'key' ? 'text COLLATE "C"' : 'text';
    default:
      return scalarType(type);
  }
}

function scalarType(type: ScalarType): string {
  switch (type.kind) {
    case 'bool':
      return 'boolean';
    case 'int32':
      return 'integer';
    case 'int64':
      return 'bigint';
    case 'float32':
      return 'real';
    case 'float64':
      return 'double precision';
    case 'string':
      return 'text';
    case 'bytes':
      return 'bytea';
    case 'timestamp':
      return 'timestamptz';
    case 'date':
      return 'date';
    case 'decimal':
      return `numeric(${type.precision},${type.scale})`;
    case 'uuid':
      return 'uuid';
    case 'json':
      return 'json';
  }
}

/**
 * How canonical cells become column values: `cast('x.c1')` is an SQL expression of the column's type, where `x.c1` is
 * text (or NULL) that contract/cells.ts has checked. The expression is used up to twice, so pass a column or a parameter.
 */
export function toPostgres(type: ValueType): { cast(expression: string): string } {
  switch (type.kind) {
    case 'list':
      return { cast: (expression) => listCast(type.item, expression) };
    case 'embedding':
      return { cast: (expression) => listCast({ kind: 'float32' }, expression) };
    default:
      return { cast: (expression) => scalarCast(type, expression) };
  }
}

function scalarCast(type: ScalarType, expression: string): string {
  if (type.kind === 'bytes') return `decode(${expression}, 'base64')`;
  return `(${expression})::${scalarType(type)}`;
}

/** A list's cell is JSON array text. ARRAY(…) of no rows is an empty array, so null is told apart before. */
function listCast(item: ScalarType, expression: string): string {
  const elements =
    item.kind === 'json'
      ? `SELECT CASE json_typeof(e) WHEN 'null' THEN NULL ELSE e END FROM json_array_elements((${expression})::json)`
      : `SELECT ${scalarCast(item, 'e')} FROM json_array_elements_text((${expression})::json)`;
  return `CASE WHEN ${expression} IS NOT NULL THEN ARRAY(${elements} WITH ORDINALITY AS a(e, n) ORDER BY n) END`;
}

/** Postgres' text output of a column (session of connect.ts: UTC, ISO, hex) → its canonical cell. */
export function fromPostgres(type: ValueType, text: string | null): Cell {
  if (text === null) return null;
  switch (type.kind) {
    case 'list':
      return listCell(type.item, text);
    case 'embedding':
      return listCell({ kind: 'float32' }, text);
    default:
      return scalarCell(type, text);
  }
}

function scalarCell(type: ScalarType, text: string): string {
  switch (type.kind) {
    case 'bool':
      return text === 't' ? 'true' : 'false';
    case 'float32':
    case 'float64':
      return floatCell(text);
    case 'bytes':
      return Buffer.from(text.slice(2), 'hex').toString('base64');
    case 'timestamp':
      return timestampCell(text);
    case 'date':
      if (text.length !== 10) throw new Error(`a date out of range stands in the store: ${text}`);
      return text;
    case 'int32':
    case 'int64':
    case 'string':
    case 'decimal':
    case 'uuid':
    case 'json':
      return text;
  }
}

/** Postgres writes 1e+20 where JavaScript writes 100000000000000000000; both are the shortest text that reads back. */
function floatCell(text: string): string {
  return text === '-0' ? text : String(Number(text));
}

/** `2024-01-01 00:00:00.1234+00` → `2024-01-01T00:00:00.123400Z`. */
export function timestampCell(text: string): string {
  const match = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?\+00$/.exec(text);
  if (!match) throw new Error(`a timestamp out of range, or not in UTC, stands in the store: ${text}`);
  const [, date, time, fraction] = match;
  return `${date}T${time}${fraction === undefined ? '' : `.${fraction.padEnd(6, '0')}`}Z`;
}

function listCell(item: ScalarType, text: string): string {
  const elements = parseArray(text).map((element) =>
    element === null ? 'null' : cellToJson(item, scalarCell(item, element)),
  );
  return `[${elements.join(',')}]`;
}

/** Postgres' text of a one-dimensional array: `{1,NULL,"a \"b\" \\ c"}`. */
function parseArray(text: string): (string | null)[] {
  const elements: (string | null)[] = [];
  let at = text.indexOf('{') + 1; // after bounds such as [0:1]=, that only other tools would write
  if (text[at] === '}') return elements;
  while (at < text.length) {
    if (text[at] === '"') {
      const start = ++at;
      while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
      const raw = text.slice(start, at);
      elements.push(raw.includes('\\') ? raw.replace(/\\([^])/g, '$1') : raw);
      at++;
    } else {
      const start = at;
      while (text[at] !== ',' && text[at] !== '}') at++;
      const raw = text.slice(start, at);
      elements.push(raw === 'NULL' ? null : raw);
    }
    at++; // the comma or the closing brace
  }
  return elements;
}
