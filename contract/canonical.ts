// The one text of a value that hashes are made of (RFC 8785, but numbers are as `printJson` writes them).
import { JsonNumber, printJson, RawJson } from './json';

/** Keys sorted by UTF-16 units, no spaces. Throws a TypeError for what `printJson` refuses and for text that has more than one form. */
export function canonicalJson(value: unknown): string {
  if (typeof value !== 'object' || value === null) return printJson(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value instanceof JsonNumber || value instanceof RawJson)
    throw new TypeError('Raw JSON text has no canonical form');
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) throw new TypeError('JSON has plain objects only');
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  members.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`).join(',')}}`;
}
