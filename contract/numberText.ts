// Numbers as text: exact where JavaScript's number would round.

/** The value digits · 10^exponent. `digits` has no leading or trailing zeros; zero is '' and 0. */
export type Decimal = { negative: boolean; digits: string; exponent: number };

/** Reads `-12.50`, `.5`, `5.`, `+1e-3`; undefined when the text is no number. */
export function parseDecimal(text: string): Decimal | undefined {
  const match = /^([+-]?)(?=\.?\d)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(text);
  if (!match) return undefined;
  const [, sign, whole = '', fraction = '', power = '0'] = match;
  const significant = `${whole}${fraction}`.replace(/^0+/, '');
  const digits = trimZeros(significant);
  const exponent = digits === '' ? 0 : Number(power) - fraction.length + significant.length - digits.length;
  return { negative: sign === '-', digits, exponent };
}

/** By hand: /0+$/ takes quadratic time on long runs of zeros inside a number. */
function trimZeros(digits: string): string {
  let end = digits.length;
  while (end > 0 && digits.charCodeAt(end - 1) === 0x30) end--;
  return digits.slice(0, end);
}

/** Equal in value; 0 and -0 are. */
export function sameValue(a: Decimal, b: Decimal): boolean {
  return a.digits === b.digits && a.exponent === b.exponent && (a.negative === b.negative || a.digits === '');
}

/** The places before the point: 12.5 has 2, 0.05 has -1, zero has 0. Bounds a number's size before its digits are written out. */
export function wholePlaces(value: Decimal): number {
  return value.digits.length + value.exponent;
}

/** With exactly `scale` digits after the point, and no sign on a zero. Needs `exponent >= -scale`, and a size that the caller bounded. */
export function fixedText(value: Decimal, scale: number): string {
  const units = (value.digits + '0'.repeat(value.digits === '' ? 0 : value.exponent + scale)).padStart(scale + 1, '0');
  const point = units.length - scale;
  const sign = value.negative && value.digits !== '' ? '-' : '';
  return scale === 0 ? `${sign}${units}` : `${sign}${units.slice(0, point)}.${units.slice(point)}`;
}

/**
 * Whether a float64 read from this whole number written in digits stands for it: it is that number, or prints as it, as
 * 123456789012345680000 does.
 */
export function float64Keeps(whole: bigint): boolean {
  const number = Number(whole);
  if (BigInt(number) === whole) return true;
  const [printed, exact] = [parseDecimal(String(number)), parseDecimal(String(whole))];
  return printed !== undefined && exact !== undefined && sameValue(printed, exact);
}

const smallestNormalFloat32 = 2 ** -126;

/** The shortest decimal that names this float32 (a number that `Math.fround` leaves alone), also to a reader that rounds only once. */
export function float32Text(value: number): string {
  if (Object.is(value, -0)) return '-0';
  if (!Number.isFinite(value) || value === 0) return String(value);
  // A normal float32 carries any 6 digits, so its first 6 show a shorter text too, padded with zeros.
  const fewest = Math.abs(value) < smallestNormalFloat32 ? 1 : 6;
  for (let digits = fewest; digits < 9; digits++) {
    if (names(Number(value.toPrecision(digits)), value)) return String(tiedToEven(value, digits));
  }
  return String(tiedToEven(value, 9));
}

/** Rounded to so many digits, a tie to the even digit, so that Postgres prints the same text; `toPrecision` rounds ties up. */
function tiedToEven(value: number, digits: number): number {
  const rounded = value.toPrecision(digits);
  const near = Number(rounded);
  if (!/[13579](?:e.*)?$/.test(rounded) || !/50{20}(?:e.*)?$/.test(value.toPrecision(digits + 21))) return near;
  const even = Number(rounded.replace(/\d(?=(?:e.*)?$)/, (odd) => String(Number(odd) - 1)));
  return names(even, value) ? even : near;
}

/** Whether every reader takes this number for the float32: it is nearer than any other, not in the middle between two. */
function names(near: number, value: number): boolean {
  const mirrored = value + 2 * (near - value);
  return Math.fround(near) === value && (mirrored === value || Math.fround(mirrored) !== mirrored);
}
