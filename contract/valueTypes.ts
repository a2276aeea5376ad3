// The closed list of value types, their written form, and what each costs in a Postgres row.
import { FormError } from './formError';

const plainKinds = [
  'bool',
  'int32',
  'int64',
  'float32',
  'float64',
  'string',
  'bytes',
  'timestamp',
  'date',
  'uuid',
  'json',
] as const;

export type PlainKind = (typeof plainKinds)[number];
export type DecimalType = { kind: 'decimal'; precision: number; scale: number };
export type ScalarType = { kind: PlainKind } | DecimalType;
export type ValueType = ScalarType | { kind: 'list'; item: ScalarType } | { kind: 'embedding'; size: number };

/** DuckDB's widest decimal. */
const maxDecimalPrecision = 38;
const maxEmbeddingSize = 16_000;

const anyType = `one of ${plainKinds.join(', ')}, decimal(p,s), list<T>, embedding<n>`;

/** Names that other systems use, each with ours. */
const otherNames = new Map<string, string>(
  Object.entries({
    bool: ['boolean', 'bit', 'logical'],
    int32: [
      'int',
      'integer',
      'int4',
      'int8',
      'int16',
      'smallint',
      'tinyint',
      'short',
      'byte',
      'uint8',
      'uint16',
      'i32',
    ],
    int64: ['bigint', 'long', 'uint32', 'uint64', 'hugeint', 'serial', 'i64'],
    float32: ['real', 'float4', 'f32', 'half', 'float16'],
    float64: ['double', 'double precision', 'float', 'float8', 'number', 'f64'],
    string: ['text', 'varchar', 'char', 'str', 'utf8', 'large_string', 'category', 'object', 'enum', 'nvarchar'],
    bytes: ['blob', 'bytea', 'binary', 'varbinary'],
    timestamp: ['datetime', 'timestamptz', 'timestamp_ns', 'timestamp_us', 'unix_timestamp', 'unixtimestamp', 'time'],
    date: ['date32', 'date64', 'day'],
    uuid: ['guid'],
    json: ['jsonb', 'map', 'struct', 'dict', 'variant', 'super'],
    'decimal(18,2)': ['decimal', 'numeric', 'money', 'bignumeric'],
    'list<float64>': ['list', 'array', 'repeated'],
    'embedding<384>': ['embedding', 'vector'],
  }).flatMap(([ours, theirs]) => theirs.map((name): [string, string] => [name, ours])),
);

/** `'decimal(10,2)'` → its type. Throws a FormError that says what is expected and the nearest type. */
export function parseValueType(text: string): ValueType {
  if (text.length > 80) throw new FormError('type', text, anyType);
  const type = tryParse(text);
  if (typeof type === 'object') return type;
  throw new FormError('type', text, type ?? `${anyType}${didYouMean(nearest(text))}`);
}

/** The type, or what is expected instead of a number or element that is none, or undefined when the text is no type of ours. */
function tryParse(text: string): ValueType | string | undefined {
  const list = /^list< ?(.+?) ?>$/.exec(text);
  if (list?.[1] !== undefined) {
    const item = tryParse(list[1]);
    if (typeof item !== 'object') return item;
    if (item.kind === 'list' || item.kind === 'embedding') {
      return 'a list of scalars; for a vector use embedding<n>, for nested values json';
    }
    return { kind: 'list', item };
  }
  const embedding = /^embedding< ?(\d+) ?>$/.exec(text);
  if (embedding) {
    const size = Number(embedding[1]);
    return size >= 1 && size <= maxEmbeddingSize
      ? { kind: 'embedding', size }
      : `embedding<n> with n from 1 to ${maxEmbeddingSize}`;
  }
  const decimal = /^decimal\( ?(\d+) ?, ?(\d+) ?\)$/.exec(text);
  if (decimal) {
    const precision = Number(decimal[1]);
    const scale = Number(decimal[2]);
    return precision >= 1 && precision <= maxDecimalPrecision && scale <= precision
      ? { kind: 'decimal', precision, scale }
      : `decimal(p,s) with p from 1 to ${maxDecimalPrecision} and s from 0 to p`;
  }
  const kind = plainKinds.find((one) => one === text);
  return kind && { kind };
}

function didYouMean(type: string | undefined): string {
  return type === undefined ? '' : `. Did you mean ${type}?`;
}

function nearest(text: string): string | undefined {
  const name = text.trim().toLowerCase();
  const known = tryParse(name);
  if (typeof known === 'object') return formatValueType(known);
  const size = /(\d+)/.exec(name)?.[1];
  if (/^(vector|embedding|float\[\d+\]|float32\[\d+\])/.test(name)) return `embedding<${size ?? 384}>`;
  const array = /^(.*)\[\]$/.exec(name) ?? /^(?:array|list|repeated|sequence)\W(.*?)\W?$/.exec(name);
  if (array?.[1]) {
    const item = tryParse(array[1]);
    return `list<${typeof item === 'object' ? formatValueType(item) : (nearest(array[1]) ?? 'float64')}>`;
  }
  const numbers = /^(?:decimal|numeric|number)\W+(\d+)(?:\W+(\d+))?\W*$/.exec(name);
  if (numbers) return `decimal(${numbers[1]},${numbers[2] ?? 0})`;
  const bare = name.replace(/\W.*$/, '');
  return (
    otherNames.get(name) ?? otherNames.get(bare) ?? plainKinds.find((kind) => kind === bare || oneEdit(kind, bare))
  );
}

/** True when one letter was added, dropped, changed, or swapped with its neighbour. */
function oneEdit(a: string, b: string): boolean {
  if (Math.abs(a.length - b.length) > 1) return false;
  let start = 0;
  while (start < a.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const restA = a.slice(start, a.length - end);
  const restB = b.slice(start, b.length - end);
  return Math.max(restA.length, restB.length) <= 1 || (restA.length === 2 && restA === [...restB].reverse().join(''));
}

/** The written form that `parseValueType` reads, without spaces. */
export function formatValueType(type: ValueType): string {
  if (type.kind === 'decimal') return `decimal(${type.precision},${type.scale})`;
  if (type.kind === 'list') return `list<${formatValueType(type.item)}>`;
  if (type.kind === 'embedding') return `embedding<${type.size}>`;
  return type.kind;
}

/** Entity keys compare exactly and index well: never floats, bytes, json, lists or embeddings. */
export function isKeyType(type: ValueType): boolean {
  return ['bool', 'int32', 'int64', 'string', 'date', 'timestamp', 'uuid', 'decimal'].includes(type.kind);
}

/**
 * The most bytes a column takes in a Postgres row, whatever stands beside it: its size rounded up to 8, the widest alignment.
 * A variable-length value counts 24: Postgres moves none of up to 24 bytes out of the row, and leaves 18 where it moved one.
 */
export function columnWidth(type: ValueType): number {
  switch (type.kind) {
    case 'bool':
    case 'int32':
    case 'int64':
    case 'float32':
    case 'float64':
    case 'timestamp':
    case 'date':
      return 8;
    case 'uuid':
      return 16;
    case 'string':
    case 'bytes':
    case 'json':
    case 'decimal':
    case 'list':
    case 'embedding':
      return 24;
  }
}
