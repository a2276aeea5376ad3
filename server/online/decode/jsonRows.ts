import { LoftError } from '../../../contract/errors';
import { JsonError, own, parseJson, type JsonValue } from '../../../contract/json';
import { BatchBuilder, writeColumns } from '../cellBatch';
import { cellsOfJsonRow, isJsonObject } from './rowCells';
import type { RowSource } from './rowSource';

/** What a JSON body of the rows route asks for. */
export type JsonRowsBody =
  { kind: 'rows'; source: RowSource } | { kind: 'dataset'; dataset: string; version: number | undefined };

/**
 * Reads `{"rows": [{…}, …]}` or `{"dataset": name, "version"?: n}`. The whole text is held in memory, so whoever reads the
 * body limits it to 32 MB. Throws LoftError 400 for what is no JSON, 422 `bad_body` for another shape.
 */
export function readJsonRows(text: string): JsonRowsBody {
  const body = parseBody(text);
  if (!isJsonObject(body)) throw badBody('something else');
  const unknown = Object.keys(body).find((key) => !['rows', 'dataset', 'version'].includes(key));
  if (unknown !== undefined) throw badBody(`a member ${JSON.stringify(unknown.slice(0, 60))}`);
  const rows = own(body, 'rows');
  const dataset = own(body, 'dataset');
  const version = own(body, 'version');
  if (Array.isArray(rows) && dataset === undefined && version === undefined)
    return { kind: 'rows', source: rowsOf(rows) };
  if (typeof dataset !== 'string' || rows !== undefined)
    throw badBody('neither or both of rows (a list) and dataset (a name)');
  if (version === undefined) return { kind: 'dataset', dataset, version };
  if (typeof version !== 'number' || !Number.isInteger(version) || version < 1)
    throw badBody('a version that is no number from 1');
  return { kind: 'dataset', dataset, version };
}

function parseBody(text: string): JsonValue {
  try {
    return parseJson(text, { verbatim: true });
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new LoftError(400, error.code, error.message, { extra: { position: error.position } });
  }
}

function badBody(found: string): LoftError {
  const expected = '{"rows": [{…}, …]} or {"dataset": name, "version"?: number}';
  return new LoftError(422, 'bad_body', `The body holds ${found}; expected ${expected}.`);
}

function rowsOf(rows: readonly JsonValue[]): RowSource {
  // eslint-disable-next-line @typescript-eslint/require-await -- other sources wait for their bytes
  return async function* (view, problems) {
    const columns = writeColumns(view);
    const builder = new BatchBuilder(columns.list.length);
    for (const [row, value] of rows.entries()) {
      const cells = cellsOfJsonRow(columns, row, value, problems);
      if (cells !== undefined && builder.add(row, cells)) yield builder.take();
    }
    if (!builder.isEmpty) yield builder.take();
  };
}
