import { JsonError, parseJson, type JsonValue } from '../../../contract/json';
import { BatchBuilder, writeColumns } from '../cellBatch';
import { lines } from './lines';
import type { RowProblems } from './problems';
import { cellsOfJsonRow } from './rowCells';
import type { Bytes, RowSource } from './rowSource';

/** One JSON object a line; blank lines are no rows. A line that is no JSON is a bad row, and the rest is read on. */
export function ndjsonRows(bytes: Bytes): RowSource {
  return async function* (view, problems) {
    const columns = writeColumns(view);
    const builder = new BatchBuilder(columns.list.length);
    let row = -1;
    for await (const some of lines(bytes)) {
      for (const line of some) {
        if (line.trim() === '') continue;
        row++;
        const value = parseLine(line, row, problems);
        const cells = value === undefined ? undefined : cellsOfJsonRow(columns, row, value, problems);
        if (cells !== undefined && builder.add(row, cells)) yield builder.take();
      }
    }
    if (!builder.isEmpty) yield builder.take();
  };
}

function parseLine(line: string, row: number, problems: RowProblems): JsonValue | undefined {
  try {
    return parseJson(line, { verbatim: true });
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    problems.add(row, {
      code: error.code,
      found: error.message.replace(/\.$/, ''),
      expected: 'one JSON object a line',
    });
    return undefined;
  }
}
