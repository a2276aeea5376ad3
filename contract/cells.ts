// A cell is the canonical text of a value, or null: the one form in which values travel between JSON, Postgres, the outbox and DuckDB.
import { daysFromCivil, firstSecond, formatDay, formatInstant, isCivil, lastSecond, secondsPerDay } from './calendar';
import { fixedText, float32Text, float64Keeps, parseDecimal, wholePlaces } from './numberText';
import { JsonError, JsonNumber, type JsonValue, parseJson, printJson } from './json';
import { localToUtc } from './timeZones';
import type { DecimalType, ScalarType, ValueType } from './valueTypes';

export type Cell = string | null;

export type CellErrorCode =
  | 'wrong_type'
  | 'out_of_range'
  | 'not_integer'
  | 'too_precise'
  | 'not_finite'
  | 'no_zone'
  | 'skipped_time'
  | 'ambiguous_time'
  | 'bad_base64'
  | 'bad_json'
  | 'nul_in_text'
  | 'lone_surrogate'
  | 'wrong_length'
  | 'null_element';

/** `found` and `expected` are for people; `element` is the place inside a list or embedding, from 0. */
export class CellError extends Error {
  constructor(
    readonly code: CellErrorCode,
    readonly found: string,
    readonly expected: string,
    readonly element?: number,
  ) {
    super(`${element === undefined ? '' : `element ${element}: `}found ${found}, expected ${expected}`);
    this.name = 'CellError';
  }
}

export type CellOptions = {
  /** The zone of times that name none: `UTC` or an IANA zone. Without it such times are refused. */
  timezone?: string;
  /** Round times to the microsecond (a half up) instead of refusing finer ones. */
  roundTimes?: boolean;
};

/** A value of a JSON row → its cell. Throws a CellError. Best given what `parseJson(text, { verbatim: true })` read. */
export function cellFromJson(type: ValueType, value: JsonValue, options: CellOptions = {}): Cell {
  if (value === null) return null;
  switch (type.kind) {
    case 'list':
      return listCell(type.item, value, options);
    case 'embedding':
      return embeddingCell(type.size, value);
    case 'json':
      return jsonCell(value);
    case 'bool':
      if (typeof value !== 'boolean') throw mismatch(value, 'true or false');
      return String(value);
    case 'int32':
    case 'int64':
      return integerCell(type.kind, numberText(value, `a whole number (${type.kind})`));
    case 'float32':
    case 'float64': {
      const expected = `a number (${type.kind}), "NaN", "Infinity" or "-Infinity"`;
      if (value === 'NaN' || value === 'Infinity' || value === '-Infinity') return value;
      if (typeof value === 'number') return floatNumberCell(type.kind, value);
      return floatCell(type.kind, numberText(value, expected));
    }
    case 'decimal': {
      const expected = `a string or number such as "12.50" (${decimalName(type)})`;
      return decimalCell(type, typeof value === 'string' ? value : numberText(value, expected));
    }
    case 'string':
    case 'bytes':
    case 'timestamp':
    case 'date':
    case 'uuid':
      if (typeof value !== 'string') throw mismatch(value, stringExpectations[type.kind]);
      return stringCell(type.kind, value, options);
  }
}

/**
 * A field of a CSV file, or a database's text, → its cell. Which fields are null is for the caller to say. Spaces around anything but a
 * string are ignored. A canonical cell gives itself, but for the json text `null`, which is null. Throws a CellError.
 */
export function cellFromText(type: ValueType, text: string, options: CellOptions = {}): Cell {
  if (type.kind === 'string') return stringCell('string', text, options);
  const trimmed = text.trim();
  switch (type.kind) {
    case 'list':
    case 'embedding':
    case 'json':
      return cellFromJson(type, jsonOf(trimmed), options);
    case 'bool':
      if (/^(?:true|t|1)$/i.test(trimmed)) return 'true';
      if (/^(?:false|f|0)$/i.test(trimmed)) return 'false';
      throw mismatch(text, 'true or false');
    case 'int32':
    case 'int64':
      return integerCell(type.kind, trimmed);
    case 'float32':
    case 'float64':
      return notFiniteCell(trimmed) ?? floatCell(type.kind, trimmed);
    case 'decimal':
      return decimalCell(type, trimmed);
    case 'bytes':
    case 'timestamp':
    case 'date':
    case 'uuid':
      return stringCell(type.kind, trimmed, options);
  }
}

/** The JSON text of a cell, as a row holds it. */
export function cellToJson(type: ValueType, cell: Cell): string {
  if (cell === null) return 'null';
  switch (type.kind) {
    case 'bool':
    case 'int32':
    case 'int64':
    case 'json':
    case 'list':
    case 'embedding':
      return cell;
    case 'float32':
    case 'float64':
      return floatJson(cell);
    case 'decimal':
    case 'bytes':
    case 'timestamp':
    case 'date':
    case 'uuid':
      return `"${cell}"`;
    case 'string':
      return JSON.stringify(cell);
  }
}

/** The element type of a list or an embedding. */
function elementType(type: ValueType): ScalarType {
  if (type.kind === 'embedding') return { kind: 'float32' };
  if (type.kind === 'list') return type.item;
  throw new TypeError(`${type.kind} has no elements`);
}

/** The cell of a list or embedding from the cells of its elements. */
export function joinElements(type: ValueType, elements: readonly Cell[]): string {
  const item = elementType(type);
  return `[${elements.map((element) => cellToJson(item, element)).join(',')}]`;
}

/** The cells of the elements of a list's or embedding's cell. */
export function splitElements(type: ValueType, cell: string): Cell[] {
  const item = elementType(type);
  const elements = jsonOf(cell);
  if (!Array.isArray(elements)) throw mismatch(elements, 'a list');
  return elements.map((element) => cellFromJson(item, element));
}

// JSON

function jsonOf(text: string): JsonValue {
  try {
    return parseJson(text, { verbatim: true });
  } catch (error) {
    if (error instanceof JsonError) throw new CellError('bad_json', error.message.replace(/\.$/, ''), 'JSON');
    throw error;
  }
}

function jsonCell(value: JsonValue): string {
  const text = printJson(value);
  const escape = text.includes('\\u') && /(?:^|[^\\])(?:\\\\)*\\u(0000|d[89a-f])/.exec(text)?.[1];
  if (escape) throw badCharacter(escape === '0000' ? 'nul_in_text' : 'lone_surrogate', 'a JSON text');
  return text;
}

function mismatch(value: JsonValue, expected: string): CellError {
  return new CellError('wrong_type', shown(value), expected);
}

function shown(value: JsonValue): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null && !(value instanceof JsonNumber)) return 'an object';
  const text = typeof value === 'string' && value.length > 60 ? printJson(`${value.slice(0, 60)}…`) : printJson(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

// Lists

function listCell(item: ScalarType, value: JsonValue, options: CellOptions): string {
  if (!Array.isArray(value)) throw mismatch(value, 'a list');
  return `[${value.map((element, place) => cellToJson(item, elementCell(item, element, place, options))).join(',')}]`;
}

function embeddingCell(size: number, value: JsonValue): string {
  if (!Array.isArray(value)) throw mismatch(value, `a list of ${size} numbers`);
  if (value.length !== size) throw new CellError('wrong_length', `${value.length} elements`, `${size}`);
  const item: ScalarType = { kind: 'float32' };
  const elements = value.map((element, place) => {
    if (element === null) throw new CellError('null_element', 'null', 'a number', place);
    return cellToJson(item, elementCell(item, element, place, {}));
  });
  return `[${elements.join(',')}]`;
}

function elementCell(item: ScalarType, element: JsonValue, place: number, options: CellOptions): Cell {
  try {
    return cellFromJson(item, element, options);
  } catch (error) {
    if (error instanceof CellError) throw new CellError(error.code, error.found, error.expected, place);
    throw error;
  }
}

// Numbers

function numberText(value: JsonValue, expected: string): string {
  if (value instanceof JsonNumber) return value.text;
  if (typeof value === 'number' && !Number.isFinite(value)) throw new CellError('not_finite', String(value), expected);
  if (typeof value === 'number' || typeof value === 'bigint') return printJson(value);
  throw mismatch(value, expected);
}

const integerBounds = {
  int32: { low: -(2n ** 31n), high: 2n ** 31n - 1n },
  int64: { low: -(2n ** 63n), high: 2n ** 63n - 1n },
};

function integerCell(kind: 'int32' | 'int64', text: string): string {
  const expected = `a whole number (${kind})`;
  const value = parseDecimal(text);
  if (!value) throw mismatch(text, expected);
  if (value.exponent < 0) throw new CellError('not_integer', cut(text), expected);
  const { low, high } = integerBounds[kind];
  if (wholePlaces(value) > 19) throw new CellError('out_of_range', cut(text), `${low} to ${high} (${kind})`);
  const whole = BigInt(fixedText(value, 0));
  if (whole < low || whole > high) throw new CellError('out_of_range', cut(text), `${low} to ${high} (${kind})`);
  // What once was a float64 has lost digits up here: 9007199254740993 would have come as 9007199254740992.0.
  if (!/^[+-]?\d+$/.test(text) && !Number.isSafeInteger(Number(whole))) {
    throw new CellError('too_precise', cut(text), `beyond 2^53 all digits written out, without "." or "e" (${kind})`);
  }
  return String(whole);
}

function floatCell(kind: 'float32' | 'float64', text: string): string {
  const value = parseDecimal(text);
  if (!value) throw mismatch(text, `a number (${kind}), NaN, Infinity or -Infinity`);
  const number = Number(text);
  if (!Number.isFinite(number) || (number === 0 && value.digits !== '')) throw beyondFloat(kind, text);
  if (kind === 'float64' && !Number.isSafeInteger(number) && /^[+-]?\d+$/.test(text)) {
    if (!float64Keeps(BigInt(fixedText(value, 0)))) {
      const expected = 'a whole number that float64 can hold; int64 and decimal keep more digits';
      throw new CellError('too_precise', cut(text), expected);
    }
  }
  return floatNumberCell(kind, number);
}

function floatNumberCell(kind: 'float32' | 'float64', number: number): string {
  if (kind === 'float64') return Object.is(number, -0) ? '-0' : String(number);
  const near = Math.fround(number);
  if (Number.isFinite(number) && (!Number.isFinite(near) || (near === 0 && number !== 0))) {
    throw beyondFloat(kind, String(number));
  }
  return float32Text(near);
}

function beyondFloat(kind: 'float32' | 'float64', text: string): CellError {
  return new CellError('out_of_range', cut(text), `a number that ${kind} can hold`);
}

function floatJson(cell: string): string {
  if (cell === 'NaN' || cell === 'Infinity' || cell === '-Infinity') return `"${cell}"`;
  return cell === '-0' || (cell.length > 15 && /^-?\d+$/.test(cell)) ? printJson(Number(cell)) : cell;
}

function notFiniteCell(text: string): string | undefined {
  const match = /^([+-]?)(nan|inf(?:inity)?)$/i.exec(text);
  if (!match) return undefined;
  if (/nan/i.test(text)) return 'NaN';
  return match[1] === '-' ? '-Infinity' : 'Infinity';
}

function decimalCell(type: DecimalType, text: string): string {
  const value = parseDecimal(text);
  if (!value) {
    if (notFiniteCell(text)) throw new CellError('not_finite', cut(text), `a finite number (${decimalName(type)})`);
    throw mismatch(text, `a number such as 12.50 (${decimalName(type)})`);
  }
  if (value.exponent < -type.scale) {
    throw new CellError(
      'too_precise',
      cut(text),
      `at most ${type.scale} digits after the point (${decimalName(type)})`,
    );
  }
  const places = type.precision - type.scale;
  if (wholePlaces(value) > places) {
    throw new CellError('out_of_range', cut(text), `at most ${places} digits before the point (${decimalName(type)})`);
  }
  return fixedText(value, type.scale);
}

function decimalName(type: DecimalType): string {
  return `decimal(${type.precision},${type.scale})`;
}

function cut(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

// Values that JSON writes as strings

const stringExpectations = {
  string: 'a string',
  bytes: 'a base64 string (bytes)',
  timestamp: 'a time such as "2013-01-31T05:00:00Z" (timestamp)',
  date: 'a day such as "2013-01-31" (date)',
  uuid: 'a UUID such as "123e4567-e89b-12d3-a456-426614174000"',
};

function stringCell(kind: keyof typeof stringExpectations, text: string, options: CellOptions): string {
  switch (kind) {
    case 'string':
      return checkedText(text);
    case 'bytes':
      return checkedBase64(text);
    case 'timestamp':
      return timestampCell(text, options);
    case 'date':
      return dateCell(text);
    case 'uuid':
      return uuidCell(text);
  }
}

function checkedText(text: string): string {
  if (text.includes('\0')) throw badCharacter('nul_in_text', 'a string');
  if (/\p{Surrogate}/u.test(text)) throw badCharacter('lone_surrogate', 'a string');
  return text;
}

function badCharacter(code: 'nul_in_text' | 'lone_surrogate', what: string): CellError {
  const found = code === 'nul_in_text' ? 'the character NUL (U+0000)' : 'half of a surrogate pair';
  return new CellError(code, `${what} with ${found}`, 'Unicode text without NUL');
}

function checkedBase64(text: string): string {
  const expected = 'standard base64 with padding (bytes)';
  const body = text.replace(/={1,2}$/, '');
  const alien = /[^A-Za-z0-9+/]/.exec(body)?.[0];
  if (alien !== undefined) {
    const hint = alien === '-' || alien === '_' ? ', not the URL-safe form' : '';
    throw new CellError('bad_base64', `the character ${JSON.stringify(alien)}`, `${expected}${hint}`);
  }
  if (text.length % 4 !== 0)
    throw new CellError('bad_base64', `${text.length} characters`, `${expected}: a multiple of 4`);
  // The last letter's bits beyond the last byte must be zero: else two texts would be the same bytes.
  const spare = text.length - body.length;
  if ((spare === 2 && !/[AQgw]$/.test(body)) || (spare === 1 && !/[AEIMQUYcgkosw048]$/.test(body))) {
    throw new CellError('bad_base64', `left-over bits in ${JSON.stringify(text.slice(-4))}`, expected);
  }
  return text;
}

function uuidCell(text: string): string {
  const bare = /^(?:urn:uuid:)?\{?([0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12})\}?$/i.exec(text)?.[1];
  if (bare === undefined) throw mismatch(text, stringExpectations.uuid);
  const hex = bare.replaceAll('-', '').toLowerCase();
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

function dateCell(text: string): string {
  const match = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text);
  if (!match) throw mismatch(text, stringExpectations.date);
  if (!isCivil(Number(match[1]), Number(match[2]), Number(match[3]))) {
    throw new CellError('out_of_range', cut(text), 'a day of the years 0001 to 9999');
  }
  return text;
}

// Timestamps

const timestampPattern =
  /^(\d{4})-(\d{2})-(\d{2})(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d+))?)?)? ?(?:(Z|UTC)|([+-])(\d{2}):?(\d{2})?(?::?(\d{2}))?)?$/i;

/** The form that `formatInstant` writes. */
const canonicalTimestamp = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(?!000000)\d{6})?Z$/;

function timestampCell(text: string, options: CellOptions): string {
  const match = timestampPattern.exec(text);
  if (!match) throw mismatch(text, stringExpectations.timestamp);
  const [, year, month, day, hour = '0', minute = '0', second = '0', fraction = '', utc, sign] = match;
  const outOfRange = (): CellError =>
    new CellError('out_of_range', cut(text), 'a time of the years 0001 to 9999 in UTC, without leap seconds');
  if (!isCivil(Number(year), Number(month), Number(day))) throw outOfRange();
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) throw outOfRange();
  if (canonicalTimestamp.test(text)) return text;
  const local =
    daysFromCivil(Number(year), Number(month), Number(day)) * secondsPerDay +
    (Number(hour) * 3_600 + Number(minute) * 60 + Number(second));
  let seconds = utc ? local : sign ? local - offsetSeconds(match, outOfRange) : zonedSeconds(text, local, options);
  let micros = Number(fraction.slice(0, 6).padEnd(6, '0'));
  const finer = fraction.slice(6);
  if (/[1-9]/.test(finer)) {
    if (!options.roundTimes) {
      throw new CellError('too_precise', cut(text), 'at most microseconds; ask for rounding to accept finer times');
    }
    if (finer >= '5') micros++;
    if (micros === 1_000_000) [seconds, micros] = [seconds + 1, 0];
  }
  if (seconds < firstSecond || seconds > lastSecond) throw outOfRange();
  return formatInstant(seconds, micros);
}

function offsetSeconds(match: RegExpExecArray, outOfRange: () => CellError): number {
  const [sign, hours = '0', minutes = '0', seconds = '0'] = match.slice(9);
  if (Number(hours) > 15 || Number(minutes) > 59 || Number(seconds) > 59) throw outOfRange();
  return (sign === '-' ? -1 : 1) * (Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds));
}

function zonedSeconds(text: string, local: number, options: CellOptions): number {
  const zone = options.timezone;
  if (zone === undefined) {
    throw new CellError(
      'no_zone',
      cut(text),
      'a zone, such as Z or +02:00 at the end, or a source that names its timezone',
    );
  }
  const utc = localToUtc(zone, local);
  if (utc === 'skipped') {
    throw new CellError(
      'skipped_time',
      cut(text),
      `a time that exists in ${zone}: its clocks were put forward over this one`,
    );
  }
  if (utc === 'ambiguous') {
    throw new CellError('ambiguous_time', cut(text), `one instant: ${zone} had this time twice; write its offset`);
  }
  return utc;
}

/** Microseconds since 1970 of a timestamp cell. */
export function timestampMicros(cell: string): bigint {
  const match = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{6}))?Z$/.exec(cell);
  if (!match) throw new TypeError(`Not a timestamp cell: ${cut(cell)}`);
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, micros = 0] = match
    .slice(1)
    .map((part) => Number(part || 0));
  const seconds = daysFromCivil(year, month, day) * secondsPerDay + hour * 3_600 + minute * 60 + second;
  return BigInt(seconds) * 1_000_000n + BigInt(micros);
}

/** The cell of microseconds since 1970. Throws a CellError outside the years 1 to 9999. */
export function timestampFromMicros(micros: bigint): string {
  const within = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const seconds = (micros - within) / 1_000_000n;
  if (seconds < BigInt(firstSecond) || seconds > BigInt(lastSecond)) {
    throw new CellError('out_of_range', `${micros} µs since 1970`, 'a time of the years 0001 to 9999');
  }
  return formatInstant(Number(seconds), Number(within));
}

/** A timestamp cell, later by so many microseconds (earlier when negative). Throws a CellError outside the years 1 to 9999. */
export function shiftTimestamp(cell: string, micros: bigint): string {
  return timestampFromMicros(timestampMicros(cell) + micros);
}

/** Days since 1970 of a date cell, and back. */
export function dateDays(cell: string): number {
  const [year = 0, month = 0, day = 0] = cell.split('-').map(Number);
  return daysFromCivil(year, month, day);
}

export function dateFromDays(days: number): string {
  if (days * secondsPerDay < firstSecond || days * secondsPerDay > lastSecond) {
    throw new CellError('out_of_range', `${days} days since 1970`, 'a day of the years 0001 to 9999');
  }
  return formatDay(days);
}

// Order

/**
 * Negative, 0 or positive, in Postgres' order: strings by their UTF-8 bytes, NaN above all numbers, -0 equal to 0, null last. For bytes,
 * json, lists and embeddings it is only some total order, that of their text.
 */
export function compareCells(type: ValueType, a: Cell, b: Cell): number {
  if (a === b) return 0;
  if (a === null || b === null) return a === null ? 1 : -1;
  switch (type.kind) {
    case 'int32':
    case 'int64':
      return order(BigInt(a), BigInt(b));
    case 'decimal':
      return order(BigInt(a.replace('.', '')), BigInt(b.replace('.', '')));
    case 'float32':
    case 'float64':
      if (a === 'NaN' || b === 'NaN') return a === 'NaN' ? 1 : -1;
      return order(Number(a), Number(b));
    case 'timestamp':
      // Without the Z a time sorts before the same second with a fraction.
      return order(a.slice(0, -1), b.slice(0, -1));
    case 'bool':
    case 'date':
    case 'uuid':
      return order(a, b);
    case 'string':
    case 'bytes':
    case 'json':
    case 'list':
    case 'embedding':
      return compareCodePoints(a, b);
  }
}

function order<T extends string | number | bigint>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** UTF-8 sorts as code points do; JavaScript's own order puts surrogate pairs below U+E000 to U+FFFF. */
function compareCodePoints(a: string, b: string): number {
  const end = Math.min(a.length, b.length);
  for (let place = 0; place < end; place++) {
    const [one, two] = [a.charCodeAt(place), b.charCodeAt(place)];
    if (one !== two) return codePointRank(one) - codePointRank(two);
  }
  return a.length - b.length;
}

function codePointRank(unit: number): number {
  return unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit;
}
