import type { PoolClient } from 'pg';
import { compareCells, type Cell } from '../../contract/cells';
import type { Problem } from '../../contract/errors';
import { parseValueType } from '../../contract/valueTypes';
import { timestampCell } from '../postgres/columnTypes';
import type { Db } from '../postgres/connect';
import type { ViewVersion } from '../registry/snapshot';
import { withoutRows, writeColumns, type CellBatch } from './cellBatch';
import type { RowProblems } from './decode/problems';
import { FUTURE_TOLERANCE } from './upsert';

const timestamp = parseValueType('timestamp');

/** The latest time that a row may bear, by the database's clock. */
export async function latestTime(db: Db | PoolClient): Promise<string> {
  const { rows } = await db.query<{ latest: string }>(`SELECT statement_timestamp() + ${FUTURE_TOLERANCE} AS latest`);
  return timestampCell(rows[0]?.latest ?? '');
}

/** The batch without its rows whose times are later than `latest`. The same rule stands in SQL in upsert.ts. */
export function rejectFutureRows(
  view: ViewVersion,
  batch: CellBatch,
  latest: string,
  problems: RowProblems,
): CellBatch {
  const { event, created } = writeColumns(view);
  const bad = new Set<number>();
  const isLate = (cell: Cell): boolean => cell !== null && compareCells(timestamp, cell, latest) > 0;
  for (const [position, row] of batch.rows.entries()) {
    const ofEvent = view.definition.allow_future_events !== true && isLate(batch.columns[event]?.[position] ?? null);
    if (!ofEvent && !isLate(batch.columns[created]?.[position] ?? null)) continue;
    problems.add(row, futureProblem(view, batch, position, ofEvent));
    bad.add(position);
  }
  return withoutRows(batch, bad);
}

export function futureProblem(
  view: ViewVersion,
  batch: CellBatch,
  position: number,
  ofEvent: boolean,
): Omit<Problem, 'row'> {
  const { list, event, created } = writeColumns(view);
  const index = ofEvent ? event : created;
  return {
    field: list[index]?.name ?? '',
    code: ofEvent ? 'event_in_future' : 'created_in_future',
    found: batch.columns[index]?.[position] ?? 'null',
    expected: "a time at most 5 minutes ahead of the database's clock",
  };
}
