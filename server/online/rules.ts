import { CellError, cellFromJson, compareCells, splitElements, type Cell } from '../../contract/cells';
import type { FeatureRule } from '../../contract/definitions';
import type { Problem } from '../../contract/errors';
import type { JsonValue } from '../../contract/json';
import { parseDecimal, type Decimal } from '../../contract/numberText';
import type { ValueType } from '../../contract/valueTypes';
import type { ViewVersion } from '../registry/snapshot';

/** A feature's rule, made ready to be asked of many cells. */
export interface Check {
  /** The feature's column in a batch of its view. */
  column: number;
  field: string;
  on: 'reject' | 'warn';
  /** What a good value is, for people. */
  expected: string;
  holds: (cell: Cell) => boolean;
}

const known = new WeakMap<ViewVersion, readonly Check[]>();

/** The checks of a view version, in the order of its features. */
export function checksOf(view: ViewVersion): readonly Check[] {
  let checks = known.get(view);
  if (checks === undefined) {
    checks = view.definition.features.flatMap((feature, at) => {
      const type = view.featuresByName.get(feature.name)?.type;
      if (type === undefined) return [];
      const parts = { column: view.keys.length + at, field: feature.name };
      return (feature.rules ?? []).map((rule) => ({ ...parts, on: rule.on, ...readRule(rule, type) }));
    });
    known.set(view, checks);
  }
  return checks;
}

/** The problem of a cell that breaks a rule. */
export function ruleProblem(check: Check, cell: Cell): Omit<Problem, 'row'> {
  const code = check.on === 'reject' ? 'rule_violated' : 'rule_warned';
  const found = cell === null ? 'null' : cell.length > 60 ? `${cell.slice(0, 60)}… (${cell.length} characters)` : cell;
  return { field: check.field, code, found, expected: check.expected };
}

/** Null is what `not_null` is about and nothing else. A list's range and accepted values are about each of its elements. */
function readRule(rule: FeatureRule, type: ValueType): Pick<Check, 'expected' | 'holds'> {
  if (rule.not_null === true) return { expected: 'not null', holds: (cell) => cell !== null };
  const of = type.kind === 'list' ? type.item : type;
  const scalar: ValueType = of.kind === 'embedding' ? { kind: 'float32' } : of;
  const each = (holds: (cell: string) => boolean): Check['holds'] =>
    type.kind === 'list' || type.kind === 'embedding'
      ? (cell) => cell === null || splitElements(type, cell).every((element) => element === null || holds(element))
      : (cell) => cell === null || holds(cell);
  if (rule.max_length !== undefined) {
    const most = rule.max_length;
    return {
      expected: `at most ${most} ${lengthUnit(type)}`,
      holds: (cell) => cell === null || lengthOf(type, cell) <= most,
    };
  }
  if (rule.accepted !== undefined) {
    const accepted = rule.accepted.flatMap((value) => acceptedCell(scalar, value));
    const some = rule.accepted
      .slice(0, 10)
      .map((value) => JSON.stringify(value))
      .join(', ');
    const expected = `one of ${some}${rule.accepted.length > 10 ? ' …' : ''}`;
    const cells = new Set(accepted);
    // 0 and -0 are one value with two texts.
    return {
      expected,
      holds: each((cell) => cells.has(cell) || accepted.some((one) => compareCells(scalar, one, cell) === 0)),
    };
  }
  const [low, high] = rule.range ?? [null, null];
  return { expected: rangeText(low, high), holds: each(withinRange(low, high)) };
}

/** An accepted value as its type's cell; a value that no cell of the type can have accepts nothing. */
function acceptedCell(type: ValueType, value: JsonValue): string[] {
  try {
    const cell = cellFromJson(type, value);
    return cell === null ? [] : [cell];
  } catch (error) {
    if (error instanceof CellError) return [];
    throw error;
  }
}

function rangeText(low: number | null, high: number | null): string {
  if (low === null) return high === null ? 'any number' : `at most ${high}`;
  return high === null ? `at least ${low}` : `from ${low} to ${high}`;
}

/** Both ends included. Exact for decimals and big integers; NaN lies in no range. */
function withinRange(low: number | null, high: number | null): (cell: string) => boolean {
  const [lowest, highest] = [low, high].map((bound) => (bound === null ? undefined : parseDecimal(String(bound))));
  return (cell) => {
    const number = Number(cell);
    if (Number.isNaN(number)) return false;
    // Numbers this small compare exactly as float64s; so do infinities, which are no decimals.
    const value = cell.length > 15 ? parseDecimal(cell) : undefined;
    if (value === undefined) return (low === null || number >= low) && (high === null || number <= high);
    return (lowest === undefined || !isLess(value, lowest)) && (highest === undefined || !isLess(highest, value));
  };
}

function isLess(a: Decimal, b: Decimal): boolean {
  const exponent = Math.min(a.exponent, b.exponent);
  return scaled(a, exponent) < scaled(b, exponent);
}

function scaled(value: Decimal, exponent: number): bigint {
  const digits = BigInt(value.digits === '' ? 0 : value.digits) * 10n ** BigInt(value.exponent - exponent);
  return value.negative ? -digits : digits;
}

function lengthUnit(type: ValueType): string {
  if (type.kind === 'list' || type.kind === 'embedding') return 'elements';
  return type.kind === 'bytes' ? 'bytes' : 'characters';
}

function lengthOf(type: ValueType, cell: string): number {
  if (type.kind === 'list' || type.kind === 'embedding') return splitElements(type, cell).length;
  if (type.kind === 'bytes') return (cell.length / 4) * 3 - (cell.endsWith('==') ? 2 : cell.endsWith('=') ? 1 : 0);
  let surrogates = 0;
  for (const unit of cell.matchAll(/[\ud800-\udbff]/g)) surrogates += unit.length;
  return cell.length - surrogates;
}
