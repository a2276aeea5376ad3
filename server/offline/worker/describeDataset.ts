import { quoteName } from '../../postgres/identifiers';
import type { Cell } from '../../../contract/cells';
import { parseValueType } from '../../../contract/valueTypes';
import type { CellStatistics, WorkerCalls } from '../protocol';
import { columnStatistics } from '../statistics/columnStatistics';
import { inferRoles } from '../statistics/inference';
import { datasetAt, plainSelect, ROW_COLUMN } from './datasetTable';
import type { Lake, Session } from './lake';
import { cellOfPlain } from './plainValues';
import { writeRows } from './rowFile';
import type { DatasetRef } from '../protocol';

const PREVIEW_ROWS = 20;

type Describe = WorkerCalls['describeDataset'];

/** Statistics of every column, the first rows, and what the columns seem to be for. */
export function describeDataset(lake: Lake, { ref, entities }: Describe['request']): Promise<Describe['answer']> {
  return lake.read(async (session) => {
    const from = datasetAt(ref);
    const rows = await session.count(`SELECT count(*) FROM ${from}`);
    const statistics: Record<string, CellStatistics> = Object.create(null) as Record<string, CellStatistics>;
    for (const column of ref.columns) {
      statistics[column.name] = await columnStatistics(session, column, from, rows);
    }
    return {
      statistics: Object.entries(statistics),
      preview: await preview(session, ref),
      inference: await inferRoles(session, ref, statistics, entities),
    };
  });
}

async function preview(session: Session, ref: DatasetRef): Promise<Cell[][]> {
  const types = ref.columns.map((column) => parseValueType(column.type));
  const names = ref.columns.map((_, index) => `c${index}`);
  const plain = plainSelect(ref.columns, `${datasetAt(ref)} ORDER BY ${ROW_COLUMN} LIMIT ${PREVIEW_ROWS}`);
  const rows = await session.rows(`SELECT * FROM (${plain}) t(${names.map(quoteName).join(', ')})`);
  return rows.map((row) => types.map((type, index) => cellOfPlain(type, row[`c${index}`] ?? null)));
}

export function exportDataset(
  lake: Lake,
  { ref, format, target }: WorkerCalls['exportDataset']['request'],
): Promise<WorkerCalls['exportDataset']['answer']> {
  return lake.read(async (session) => ({
    rows: await writeRows(session, ref.columns, `${datasetAt(ref)} ORDER BY ${ROW_COLUMN}`, format, target),
  }));
}
