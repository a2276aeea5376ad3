import { CellError, cellFromJson, cellFromText, type Cell, type CellOptions } from '../../../contract/cells';
import { JsonNumber, own, type JsonObject, type JsonValue } from '../../../contract/json';
import type { Problem } from '../../../contract/errors';
import { nearNames } from '../../registry/nearNames';
import type { WriteColumn, WriteColumns } from '../cellBatch';
import type { RowProblems } from './problems';

/** The cells of a JSON row; undefined when it has a problem. A feature that is absent is null. */
export function cellsOfJsonRow(
  columns: WriteColumns,
  row: number,
  value: JsonValue,
  problems: RowProblems,
): Cell[] | undefined {
  if (!isJsonObject(value)) {
    problems.add(row, { code: 'bad_row', found: describe(value), expected: 'an object of column names and values' });
    return undefined;
  }
  const cells = new Array<Cell>(columns.list.length).fill(null);
  let good = true;
  for (const name of Object.keys(value)) {
    const index = columns.indexByName.get(name);
    const column = index === undefined ? undefined : columns.list[index];
    if (index === undefined || column === undefined) {
      problems.add(row, unknownColumn(columns, name));
      good = false;
      continue;
    }
    const cell = cellOr(problems, row, column, () => cellFromJson(column.type, own(value, name) ?? null));
    if (cell === undefined) good = false;
    else cells[index] = cell;
  }
  for (const [index, column] of columns.list.entries()) {
    if (cells[index] !== null || !isRequired(column)) continue;
    const given = own(value, column.name);
    if (given != null) continue; // its problem was told above
    problems.add(row, missingValue(column, given === null ? 'null' : 'no such column in this row'));
    good = false;
  }
  return good ? cells : undefined;
}

/**
 * The cells of a record of texts, each for its columns in `targets`; undefined when it has a problem. Every required column
 * is among the targets: whoever read the header has seen to it.
 */
export function cellsOfTexts(
  columns: WriteColumns,
  targets: readonly (readonly number[])[],
  row: number,
  texts: readonly Cell[],
  options: CellOptions,
  problems: RowProblems,
): Cell[] | undefined {
  const cells = new Array<Cell>(columns.list.length).fill(null);
  let good = true;
  for (const [at, indexes] of targets.entries()) {
    const text = texts[at] ?? null;
    for (const index of indexes) {
      const column = columns.list[index];
      if (column === undefined) continue;
      const cell = text === null ? null : cellOr(problems, row, column, () => cellFromText(column.type, text, options));
      if (cell === undefined) good = false;
      else if (cell === null && isRequired(column)) {
        problems.add(row, missingValue(column, text === null ? 'null' : 'nothing'));
        good = false;
      } else cells[index] = cell;
    }
  }
  return good ? cells : undefined;
}

/** Keys and the event time are never null. */
export function isRequired(column: WriteColumn): boolean {
  return column.role === 'key' || column.role === 'event';
}

/** The cell, or undefined when it is bad: then its problem was noted. */
function cellOr(problems: RowProblems, row: number, column: WriteColumn, read: () => Cell): Cell | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof CellError)) throw error;
    const place = error.element === undefined ? '' : `element ${error.element} is `;
    problems.add(row, {
      field: column.name,
      code: error.code,
      found: `${place}${error.found}`,
      expected: error.expected,
    });
    return undefined;
  }
}

export function missingValue(column: WriteColumn, found: string): Omit<Problem, 'row'> {
  const expected =
    column.role === 'key' ? 'a value, for it is a key of the entity' : 'the time at which the values were true';
  return { field: column.name, code: 'missing_value', found, expected };
}

export function unknownColumn(columns: WriteColumns, name: string): Omit<Problem, 'row'> {
  const [near] = nearNames(name, columns.indexByName.keys());
  const names = columns.list.map((column) => column.name);
  const some = names.length > 12 ? `${names.slice(0, 12).join(', ')} … (${names.length} columns)` : names.join(', ');
  return {
    field: shownName(name),
    code: 'unknown_column',
    found: shownName(name),
    expected: near === undefined ? `one of ${some}` : `${near}, perhaps; the columns are ${some}`,
  };
}

/** As a problem names it: cut, because it may be anything. */
export function shownName(name: string): string {
  return name.length > 60 ? `${name.slice(0, 60)}…` : name;
}

export function isJsonObject(value: JsonValue): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof JsonNumber);
}

function describe(value: JsonValue): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return value instanceof JsonNumber ? 'a number' : `a ${typeof value === 'bigint' ? 'number' : typeof value}`;
}
