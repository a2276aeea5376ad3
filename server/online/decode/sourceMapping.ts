import { LoftError, type Problem } from '../../../contract/errors';
import { formatValueType } from '../../../contract/valueTypes';
import type { SourceColumn } from '../../offline/protocol';
import type { ViewVersion } from '../../registry/snapshot';
import { writeColumns, type WriteColumn } from '../cellBatch';
import { isRequired, shownName, unknownColumn } from './rowCells';

/** The name that the view's source gives a column in its files; undefined when it says nothing about it. */
function sourceName(view: ViewVersion, column: WriteColumn): string | undefined {
  const source = view.definition.source;
  if (column.role === 'event') return source?.event_timestamp;
  if (column.role === 'created') return source?.created_timestamp;
  const names = source?.columns;
  return names !== undefined && Object.hasOwn(names, column.name) ? names[column.name] : undefined;
}

/**
 * Which of a view's columns each header field fills. A field goes by the column's own name, or by its name in the view's
 * source; there it may fill several, as when a value counts as known at its event time.
 */
export function mapHeader(view: ViewVersion, header: readonly string[]): number[][] {
  const columns = writeColumns(view);
  const given = new Set(header);
  const bySourceName = new Map<string, number[]>();
  for (const [index, column] of columns.list.entries()) {
    const name = sourceName(view, column);
    // A name that is also another column's own means that one, where this column is there under its own.
    if (name === undefined || name === column.name || (columns.indexByName.has(name) && given.has(column.name)))
      continue;
    bySourceName.set(name, [...(bySourceName.get(name) ?? []), index]);
  }
  const problems: Problem[] = [];
  const fields = new Map<number, string>();
  const targets = header.map((name) => {
    const own = columns.indexByName.get(name);
    const indexes = [...(own === undefined ? [] : [own]), ...(bySourceName.get(name) ?? [])];
    if (indexes.length === 0) problems.push(unknownColumn(columns, name));
    for (const index of indexes) {
      const other = fields.get(index);
      if (other !== undefined) problems.push(duplicate(name, other, columns.list[index]?.name ?? name));
      fields.set(index, name);
    }
    return indexes;
  });
  for (const [index, column] of columns.list.entries()) {
    if (isRequired(column) && !fields.has(index)) problems.push(missingColumn(view, column));
  }
  if (problems.length > 0) throw badColumns('header', problems);
  return targets;
}

/** How a Parquet file's or a dataset's columns become a view's: what to ask the worker's `toCells` for. */
export interface WorkerPlan {
  columns: SourceColumn[];
  /** Names of the view's columns, in the order of `columns`. */
  names: string[];
}

/**
 * Which columns to read from a file with these columns. A dataset may have more than the view takes; an upload straight to
 * the view may not. Throws LoftError 422 `bad_columns` with every column that is unknown or missing.
 */
export function workerPlan(view: ViewVersion, fileColumns: readonly string[], kind: 'upload' | 'dataset'): WorkerPlan {
  const columns = writeColumns(view);
  const standing = new Set(fileColumns);
  const left = new Set(fileColumns);
  const timezone = view.definition.source?.timezone;
  const plan: WorkerPlan = { columns: [], names: [] };
  const problems: Problem[] = [];
  for (const column of columns.list) {
    const mapped = sourceName(view, column);
    const name = [mapped, column.name].find((one) => one !== undefined && standing.has(one));
    if (name === undefined) {
      if (isRequired(column) || (mapped !== undefined && kind === 'dataset'))
        problems.push(missingColumn(view, column));
      continue;
    }
    // One column may serve several of the view's: an event known at its own time.
    left.delete(name);
    plan.names.push(column.name);
    plan.columns.push({ name, type: formatValueType(column.type), ...(timezone === undefined ? {} : { timezone }) });
  }
  if (kind === 'upload') for (const name of left) problems.push(unknownColumn(columns, name));
  if (problems.length > 0) throw badColumns(kind === 'upload' ? 'file' : 'dataset', problems);
  return plan;
}

function duplicate(name: string, other: string, column: string): Problem {
  const found = name === other ? `${shownName(name)} twice` : `both ${shownName(other)} and ${shownName(name)}`;
  return { field: shownName(name), code: 'duplicate_column', found, expected: `one column for ${column}` };
}

function missingColumn(view: ViewVersion, column: WriteColumn): Problem {
  const mapped = sourceName(view, column);
  const alias = mapped === undefined || mapped === column.name ? '' : ` (${mapped} by the view's source)`;
  const what =
    column.role === 'key' ? `a key of ${view.entity.name}` : column.role === 'event' ? 'the event time' : 'a column';
  return {
    field: column.name,
    code: 'missing_column',
    found: 'no such column',
    expected: `${column.name}${alias}, ${what}`,
  };
}

function badColumns(where: 'header' | 'file' | 'dataset', problems: Problem[]): LoftError {
  const told = problems.map(({ code, found, expected }) =>
    code === 'unknown_column' ? `unknown column ${found} (expected ${expected})` : `${found} (expected ${expected})`,
  );
  const some = told.length > 5 ? `${told.slice(0, 5).join('; ')}; and ${told.length - 5} more` : told.join('; ');
  return new LoftError(422, 'bad_columns', `The columns of the ${where} do not fit the view: ${some}.`, { problems });
}
