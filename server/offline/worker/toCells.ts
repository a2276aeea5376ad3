import type { Column } from '../../../contract/api';
import { CellError, cellFromText, type Cell } from '../../../contract/cells';
import { LoftError, type Problem } from '../../../contract/errors';
import { formatValueType, parseValueType, type ValueType } from '../../../contract/valueTypes';
import type { SourceColumn, WorkerCalls } from '../protocol';
import { datasetAt, plainSelect, ROW_COLUMN } from './datasetTable';
import type { Lake, Session } from './lake';
import { writeLines } from './rowFile';
import { stage } from './stage';
import { quoteName } from '../../postgres/identifiers';

type ToCells = WorkerCalls['toCells'];

/**
 * A file's or dataset's rows as canonical cells of the types wanted, in their order, one JSON line a row: `[cell, …]`, or
 * `{"problems":[{field, code, found, expected}]}` for a row with values that don't fit, so that the caller can refuse or skip it.
 */
export function toCells(lake: Lake, { source, columns, target }: ToCells['request']): Promise<ToCells['answer']> {
  return lake.read(async (session) => {
    const { from, types } = await sourceOf(session, source, columns);
    const has = columns.map((column, index): Column => ({ name: column.name, type: types[index] ?? 'string' }));
    const convert = columns.map((column, index) => converter(column, parseValueType(types[index] ?? 'string')));
    const rows = await writeLines(
      target,
      session.chunks(plainSelect(has, from)),
      has.map((column) => parseValueType(column.type)),
      (cells) => lineOf(cells, columns, convert),
    );
    return { rows };
  });
}

async function sourceOf(
  session: Session,
  source: ToCells['request']['source'],
  wanted: readonly SourceColumn[],
): Promise<{ from: string; types: string[] }> {
  if ('dataset' in source) {
    const types = typesOf(wanted, source.columns);
    return { from: `${datasetAt(source)} ORDER BY ${ROW_COLUMN}`, types };
  }
  const staged = await stage(session, source.file, source.format);
  const list = staged.columns.map((column) => `${column.sql} AS ${quoteName(column.name)}`);
  return { from: `(SELECT ${list.join(', ')} FROM ${staged.relation})`, types: typesOf(wanted, staged.columns) };
}

function typesOf(wanted: readonly SourceColumn[], found: readonly Column[]): string[] {
  return wanted.map(({ name }) => {
    const column = found.find((one) => one.name === name);
    if (column) return column.type;
    throw new LoftError(422, 'unknown_column', `There is no column ${name}; there are ${listed(found)}.`, {
      problems: [{ field: name, code: 'unknown_column', found: name, expected: listed(found) }],
    });
  });
}

function listed(columns: readonly Column[]): string {
  const names = columns.slice(0, 20).map((column) => column.name);
  return `${names.join(', ')}${columns.length > 20 ? `, and ${columns.length - 20} more` : ''}`;
}

type Converter = (cell: Cell) => Cell;

/** From one type's cells to another's: only what loses nothing. */
function converter(wanted: SourceColumn, found: ValueType): Converter {
  const type = parseValueType(wanted.type);
  if (formatValueType(type) === formatValueType(found)) return (cell) => cell;
  const options = wanted.timezone === undefined ? {} : { timezone: wanted.timezone };
  // A text stays a text, also one that looks like a number; JSON keeps what it says.
  if (type.kind === 'bool' || found.kind === 'bool') {
    return (cell) => {
      if (cell === null || (type.kind === 'string' && found.kind === 'bool')) return cell;
      if (found.kind !== 'string') throw new CellError('wrong_type', cell, wanted.type);
      return cellFromText(type, cell, options);
    };
  }
  return (cell) => (cell === null ? null : cellFromText(type, cell, options));
}

function lineOf(cells: Cell[], columns: readonly SourceColumn[], convert: readonly Converter[]): string {
  const problems: Problem[] = [];
  const converted = cells.map((cell, index) => {
    try {
      return convert[index]?.(cell) ?? null;
    } catch (error) {
      if (!(error instanceof CellError)) throw error;
      const { code, found, expected } = error;
      problems.push({ field: columns[index]?.name ?? '', code, found, expected });
      return null;
    }
  });
  return `${JSON.stringify(problems.length > 0 ? { problems } : converted)}\n`;
}
