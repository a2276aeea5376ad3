import { CellError, cellFromJson, type Cell } from '../../contract/cells';
import { LoftError, MAX_PROBLEMS, type Problem } from '../../contract/errors';
import type { JsonValue } from '../../contract/json';
import { formatValueType } from '../../contract/valueTypes';
import { nearNames } from '../registry/nearNames';
import type { ReadPlan } from './readPlan';

/** The most keys of one read. */
export const MAX_KEYS = 100_000;
/** Keys times features: an answer is made in memory. */
const MAX_VALUES = 5_000_000;

/**
 * The keys of a request as cells, one list for each of the plan's keys, all equally long. Throws LoftError 422
 * `bad_keys` with each unknown, missing or unequally long key column and each key of the wrong type with its row, and
 * `too_many_keys` or `too_many_values` beyond the limits.
 */
export function readKeys(plan: ReadPlan, entities: Readonly<Record<string, unknown>>): Cell[][] {
  const problems: Problem[] = [];
  const names = new Set(plan.keys.map((key) => key.name));
  for (const name of Object.keys(entities)) {
    if (!names.has(name)) problems.push(unknownKey(name, names));
  }
  const given = new Map<string, readonly unknown[]>();
  for (const name of names) {
    const values = Object.hasOwn(entities, name) ? entities[name] : undefined;
    if (Array.isArray(values)) given.set(name, values);
    else problems.push(missingKey(plan, name));
  }
  const count = given.values().next().value?.length ?? 0;
  for (const [name, values] of given) {
    if (values.length !== count) problems.push(unequal(name, values.length, [...given.keys()][0] ?? '', count));
  }
  if (problems.length > 0) throw refusal(problems, problems.length);
  demandSize(plan, count);
  let total = 0;
  const cells = plan.keys.map(({ name, type }) =>
    (given.get(name) ?? []).map((value, row): Cell => {
      try {
        const cell = cellFromJson(type, value as JsonValue);
        if (cell !== null) return cell;
        if (++total <= MAX_PROBLEMS) {
          problems.push({
            row,
            field: name,
            code: 'missing_value',
            found: 'null',
            expected: `a ${formatValueType(type)}`,
          });
        }
      } catch (error) {
        if (!(error instanceof CellError)) throw error;
        if (++total <= MAX_PROBLEMS) {
          problems.push({ row, field: name, code: error.code, found: error.found, expected: error.expected });
        }
      }
      return null;
    }),
  );
  if (total > 0) throw refusal(problems, total);
  return cells;
}

function demandSize(plan: ReadPlan, keys: number): void {
  if (keys > MAX_KEYS) {
    throw new LoftError(
      422,
      'too_many_keys',
      `One read takes at most ${MAX_KEYS} keys; this one has ${keys}. Ask in several requests.`,
    );
  }
  const values = keys * plan.columns.length;
  if (values <= MAX_VALUES) return;
  throw new LoftError(
    422,
    'too_many_values',
    `One read answers at most ${MAX_VALUES} values; ${keys} keys of ${plan.columns.length} features are ${values}. Ask in several requests.`,
  );
}

function unknownKey(name: string, names: ReadonlySet<string>): Problem {
  const shown = name.length > 60 ? `${name.slice(0, 60)}…` : name;
  const [near] = nearNames(shown, names);
  const all = [...names].join(', ');
  const expected =
    near === undefined ? `the keys of the views asked for: ${all}` : `${near}, perhaps; the keys are ${all}`;
  return { field: shown, code: 'unknown_key', found: shown, expected };
}

function missingKey(plan: ReadPlan, name: string): Problem {
  const views = plan.views
    .filter(({ view }) => view.keys.some((key) => key.name === name))
    .map(({ view }) => view.name);
  return {
    field: name,
    code: 'incomplete_key',
    found: `no list of ${name}`,
    expected: `${name}: [values], a key of ${views.join(', ')}`,
  };
}

function unequal(name: string, length: number, other: string, count: number): Problem {
  return {
    field: name,
    code: 'unequal_lengths',
    found: `${length} values`,
    expected: `${count}, as many as ${other} has`,
  };
}

function refusal(problems: Problem[], total: number): LoftError {
  const [first] = problems;
  const where = first?.row === undefined ? '' : `Key ${first.row} of ${first.field}: `;
  const more = total > 1 ? ` (and ${total - 1} more)` : '';
  return new LoftError(
    422,
    'bad_keys',
    `${where}found ${first?.found ?? 'something else'}, expected ${first?.expected ?? 'a key'}${more}.`,
    { problems },
  );
}
