import { writeFile } from 'node:fs/promises';
import type { Column } from '../../contract/api';
import { CellError, cellFromJson, type Cell } from '../../contract/cells';
import { LoftError, MAX_PROBLEMS, type Problem } from '../../contract/errors';
import { JsonNumber, own, type JsonObject, type JsonValue } from '../../contract/json';
import { parseValueType } from '../../contract/valueTypes';

/**
 * A spine that came as JSON rows: typed by its entity keys and event time, the rest bool, int64, float64 or string by what
 * is in them. Throws 422 `bad_spine` with every value that doesn't fit.
 */
export function spineColumns(rows: readonly JsonObject[], typed: ReadonlyMap<string, string>): Column[] {
  const names = new Set<string>();
  for (const row of rows) for (const name of Object.keys(row)) names.add(name);
  const problems = nameProblems(names);
  const columns = [...names].map((name) => ({
    name,
    type: typed.get(name) ?? untypedColumn(rows, name, problems),
  }));
  if (problems.length > 0) throw badSpine(problems);
  return columns;
}

/** The worker's tables take names without regard to case, and have a column of their own. */
function nameProblems(names: ReadonlySet<string>): Problem[] {
  const seen = new Map([['__loft_row', 'a column of ours']]);
  const problems: Problem[] = [];
  for (const name of names) {
    const other = seen.get(name.toLowerCase());
    if (other === undefined && name !== '') seen.set(name.toLowerCase(), name);
    else {
      const found = name === '' ? 'an empty name' : `${name} beside ${other}`;
      problems.push({ row: 0, field: name, code: 'bad_name', found, expected: 'names that differ by more than case' });
    }
  }
  return problems;
}

function untypedColumn(rows: readonly JsonObject[], name: string, problems: Problem[]): string {
  let type: string | undefined;
  for (const [row, object] of rows.entries()) {
    const value = own(object, name) ?? null;
    const found = value === null ? undefined : jsonType(value);
    if (value === null || found === type) continue;
    if (type === undefined && found !== undefined) type = found;
    else if (isNumber(type) && isNumber(found)) type = 'float64';
    else {
      const expected = type === undefined ? 'true, false, a number or a string' : `${type}, as in the rows before`;
      problems.push({ row, field: name, code: 'wrong_type', found: found ?? 'a nested value', expected });
      if (problems.length >= MAX_PROBLEMS) break;
    }
  }
  return type ?? 'string';
}

function isNumber(type: string | undefined): boolean {
  return type === 'int64' || type === 'float64';
}

function jsonType(value: JsonValue): string | undefined {
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'string') return 'string';
  if (typeof value === 'bigint') return 'int64';
  if (typeof value === 'number') return Number.isInteger(value) && !Object.is(value, -0) ? 'int64' : 'float64';
  return value instanceof JsonNumber ? 'float64' : undefined;
}

/** Writes the rows as cells, a JSON list a line in the order of the columns, to a file of `tmp/`. */
export async function writeSpine(file: string, rows: readonly JsonObject[], columns: readonly Column[]): Promise<void> {
  const problems: Problem[] = [];
  const types = columns.map((column) => parseValueType(column.type));
  const lines = rows.map((row, index) => {
    const cells = columns.map(({ name }, at): Cell => {
      const type = types[at];
      if (type === undefined) return null;
      try {
        return cellFromJson(type, own(row, name) ?? null);
      } catch (error) {
        if (!(error instanceof CellError)) throw error;
        const { code, found, expected } = error;
        problems.push({ row: index, field: name, code, found, expected });
        return null;
      }
    });
    return JSON.stringify(cells);
  });
  if (problems.length > 0) throw badSpine(problems);
  await writeFile(file, `${lines.join('\n')}\n`, { flag: 'wx', mode: 0o600 });
}

function badSpine(problems: Problem[]): LoftError {
  const [first] = problems;
  const more = problems.length > 1 ? ` (${problems.length} problems in all)` : '';
  return new LoftError(
    422,
    'bad_spine',
    `The spine's rows can't be taken: row ${(first?.row ?? 0) + 1}, ${first?.field}: found ${first?.found}, expected ${first?.expected}${more}.`,
    { problems },
  );
}
