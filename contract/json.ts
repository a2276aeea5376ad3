// The one lossless JSON codec. Ours rather than a library's, because it must refuse every duplicate key, bound nesting, keep the order
// of keys that look like numbers, and name positions: an object that went through it is what was sent, or an error.

import { parseDecimal, sameValue } from './numberText';

/** What `parseJson` gives. A key is always an own property, also `__proto__`; read unknown keys with `own`. */
export type JsonValue = null | boolean | number | bigint | string | JsonNumber | JsonValue[] | JsonObject;
export type JsonObject = { [key: string]: JsonValue };

/** A number whose text says more than a float64 keeps, such as 30 digits. Printed as it came. */
export class JsonNumber {
  constructor(readonly text: string) {}
}

/** Text that is JSON already; `printJson` writes it as it is. The maker answers for its validity. */
export class RawJson {
  constructor(readonly text: string) {}
}

export type JsonErrorCode = 'bad_json' | 'duplicate_key' | 'number_out_of_range' | 'too_deep';

/** `position` is the index of the offending UTF-16 unit in the text. */
export class JsonError extends Error {
  constructor(
    readonly code: JsonErrorCode,
    message: string,
    readonly position: number,
  ) {
    super(message);
  }
}

export type ParseOptions = {
  /**
   * Give a `JsonNumber` for every number that `printJson` would write differently, such as 1.0 or 1e5. For bodies that hold rows: a `json`
   * value keeps its text then. Elsewhere such numbers come as plain numbers.
   */
  verbatim?: boolean;
};

export const maxJsonDepth = 200;

/** Member order of those parsed objects where JavaScript's differs, because it moves keys that look like array indices to the front. */
const keyOrder = new WeakMap<object, string[]>();

/**
 * Integers beyond 2^53 come as bigint, `-0` and `-0.0` as -0, other numbers as number, and what a float64 would alter as `JsonNumber`.
 * Throws `JsonError` for bad JSON, a repeated key, a number beyond float64's range, nesting beyond `maxJsonDepth`.
 */
export function parseJson(text: string, options: ParseOptions = {}): JsonValue {
  return new Parser(text, options.verbatim ?? false).document();
}

/** The object's own member, never an inherited one: `own(row, 'constructor')` is undefined unless the row has it. */
export function own(object: JsonObject, key: string): JsonValue | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

const numberPattern = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;

class Parser {
  private at = 0;
  private depth = 0;

  constructor(
    private readonly text: string,
    private readonly verbatim: boolean,
  ) {}

  document(): JsonValue {
    const value = this.value();
    this.space();
    if (this.at < this.text.length) this.fail('the end');
    return value;
  }

  private value(): JsonValue {
    this.space();
    switch (this.text.charCodeAt(this.at)) {
      case 0x22:
        return this.string();
      case 0x7b:
        return this.object();
      case 0x5b:
        return this.array();
      case 0x74:
        return this.word('true', true);
      case 0x66:
        return this.word('false', false);
      case 0x6e:
        return this.word('null', null);
      default:
        return this.number();
    }
  }

  private enter(): void {
    if (++this.depth > maxJsonDepth) {
      throw new JsonError('too_deep', `JSON nested more than ${maxJsonDepth} deep ${this.place(this.at)}.`, this.at);
    }
    this.at++;
  }

  private object(): JsonObject {
    const object: JsonObject = {};
    let keys: string[] | undefined;
    this.enter();
    for (let more = !this.closes(0x7d); more; more = this.continues(0x7d, '"," or "}"')) {
      this.space();
      const keyAt = this.at;
      if (this.text.charCodeAt(keyAt) !== 0x22) this.fail('a key in double quotes');
      const key = this.string();
      if (Object.hasOwn(object, key)) {
        throw new JsonError(
          'duplicate_key',
          `Key ${brief(key)} stands twice in one object ${this.place(keyAt)}.`,
          keyAt,
        );
      }
      this.space();
      if (this.text.charCodeAt(this.at) !== 0x3a) this.fail('":"');
      this.at++;
      const value = this.value();
      if (isIndexLike(key)) keys ??= Object.keys(object);
      keys?.push(key);
      if (key === '__proto__') {
        Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
      } else {
        object[key] = value;
      }
    }
    if (keys) keyOrder.set(object, keys);
    this.depth--;
    return object;
  }

  private array(): JsonValue[] {
    const array: JsonValue[] = [];
    this.enter();
    for (let more = !this.closes(0x5d); more; more = this.continues(0x5d, '"," or "]"')) array.push(this.value());
    this.depth--;
    return array;
  }

  private closes(bracket: number): boolean {
    this.space();
    if (this.text.charCodeAt(this.at) !== bracket) return false;
    this.at++;
    return true;
  }

  private continues(bracket: number, expected: string): boolean {
    if (this.closes(bracket)) return false;
    if (this.text.charCodeAt(this.at) !== 0x2c) this.fail(expected);
    this.at++;
    return true;
  }

  private word<T>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.at)) this.fail('a value');
    this.at += word.length;
    return value;
  }

  private string(): string {
    const { text } = this;
    const start = this.at;
    let escaped = false;
    for (let end = start + 1; end < text.length; end++) {
      const code = text.charCodeAt(end);
      if (code === 0x22) {
        this.at = end + 1;
        return escaped ? this.unescaped(start, end) : text.slice(start + 1, end);
      }
      if (code < 0x20) this.fail('control characters in a string to be escaped', end);
      if (code === 0x5c) {
        escaped = true;
        end++;
      }
    }
    return this.fail('the closing quote of a string', text.length);
  }

  private unescaped(start: number, end: number): string {
    try {
      return JSON.parse(this.text.slice(start, end + 1)) as string;
    } catch {
      const inner = this.text.slice(start + 1, end).replaceAll('\\\\', '__');
      const bad = /\\(?:[^"\\/bfnrtu]|u(?![0-9a-fA-F]{4}))/.exec(inner);
      return this.fail('a JSON escape such as \\n or \\u00e9', start + 1 + (bad?.index ?? 0));
    }
  }

  private number(): JsonValue {
    numberPattern.lastIndex = this.at;
    const match = numberPattern.exec(this.text);
    if (!match) return this.fail('a value');
    const start = this.at;
    const text = match[0];
    this.at += text.length;
    const number = Number(text);
    if (!Number.isFinite(number)) {
      throw new JsonError(
        'number_out_of_range',
        `Number ${brief(text)} is beyond float64's range ${this.place(start)}.`,
        start,
      );
    }
    if (match[1] === undefined && match[2] === undefined) return Number.isSafeInteger(number) ? number : BigInt(text);
    const printed = printNumber(number);
    if (printed === text) return number;
    return this.verbatim || !sameDecimal(text, printed) ? new JsonNumber(text) : number;
  }

  private space(): void {
    const { text } = this;
    for (;;) {
      const code = text.charCodeAt(this.at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.at++;
    }
  }

  private fail(expected: string, at = this.at): never {
    const found = at < this.text.length ? brief(String.fromCodePoint(this.text.codePointAt(at) ?? 0)) : 'the end';
    throw new JsonError('bad_json', `Bad JSON ${this.place(at)}: found ${found}, expected ${expected}.`, at);
  }

  private place(at: number): string {
    const lines = this.text.slice(0, at).split('\n');
    return `at line ${lines.length}, column ${(lines.at(-1)?.length ?? 0) + 1}`;
  }
}

function isIndexLike(key: string): boolean {
  const first = key.charCodeAt(0);
  return first >= 0x30 && first <= 0x39 && /^(?:0|[1-9]\d*)$/.test(key);
}

function sameDecimal(a: string, b: string): boolean {
  const [one, two] = [parseDecimal(a), parseDecimal(b)];
  return one !== undefined && two !== undefined && sameValue(one, two);
}

function brief(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}

function printNumber(value: number): string {
  if (!Number.isFinite(value)) throw new TypeError(`JSON has no ${value}`);
  if (Object.is(value, -0)) return '-0.0';
  // With an exponent, so that it is read as the float it is, here as in Python, and not as a big integer.
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? value.toExponential() : String(value);
}

/**
 * Compact JSON. -0 is written `-0.0`, a number beyond 2^53 with an exponent, a bigint as its digits; members that are undefined are left out. Throws a TypeError for what JSON
 * can't say: NaN, infinities, undefined in a list, functions, and objects other than plain ones (a Date has lost digits already).
 */
export function printJson(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value);
    case 'number':
      return printNumber(value);
    case 'bigint':
    case 'boolean':
      return String(value);
    case 'object':
      return value === null ? 'null' : printObject(value);
    case 'undefined':
    case 'function':
    case 'symbol':
      throw new TypeError(`JSON has no ${typeof value}`);
  }
}

function printObject(value: object): string {
  if (Array.isArray(value)) return `[${value.map(printJson).join(',')}]`;
  if (value instanceof JsonNumber || value instanceof RawJson) return value.text;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) throw new TypeError('JSON has plain objects only');
  const members: string[] = [];
  for (const key of orderedKeys(value)) {
    const member = (value as Record<string, unknown>)[key];
    if (member !== undefined) members.push(`${JSON.stringify(key)}:${printJson(member)}`);
  }
  return `{${members.join(',')}}`;
}

/** The order in which the keys came, as long as nobody added or removed one since. */
function orderedKeys(object: object): string[] {
  const keys = Object.keys(object);
  const came = keyOrder.get(object);
  return came?.length === keys.length && came.every((key) => Object.hasOwn(object, key)) ? came : keys;
}
