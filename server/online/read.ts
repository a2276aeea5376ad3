import { cellToJson, type Cell } from '../../contract/cells';
import { fromPostgres, timestampCell } from '../postgres/columnTypes';
import { translateAway, type Db } from '../postgres/connect';
import type { RegistryCache } from '../registry/cache';
import { translateBusy } from './busy';
import { runPrepared, type TextRow } from './preparedStatements';
import { readKeys } from './readKeys';
import { planRead, type ReadPlan, type ReadRequest } from './readPlan';
import { RegistryMoved, withRegistry } from './registryMoved';

export interface ReadContext {
  db: Db;
  /** From `openReadPool`. */
  reads: Db;
  registry: RegistryCache;
}

/**
 * The newest values of features for many keys, as the JSON text of an `OnlineAnswer`, lossless: values go from Postgres'
 * text to JSON text without becoming JavaScript numbers. Columns and keys are in the order asked.
 *
 * Throws LoftError 404 or 422 for an unknown feature, view or service (`resolveFeatures`) and for keys (`readKeys`); 503
 * when Postgres is away or busy.
 */
export async function readOnline(context: ReadContext, request: ReadRequest): Promise<string> {
  try {
    return await withRegistry(context, async (snapshot) => {
      const plan = planRead(snapshot, request);
      const keys = readKeys(plan, request.entities);
      const rows = await fetchRows(context.reads, plan, keys, snapshot.registryVersion);
      return answerText(plan, keys[0]?.length ?? 0, rows);
    });
  } catch (error) {
    throw translateBusy(translateAway(error));
  }
}

/** The statement's rows. Throws RegistryMoved when the plan was made for another version than the head's. */
async function fetchRows(db: Db, plan: ReadPlan, keys: Cell[][], registryVersion: number): Promise<TextRow[]> {
  const rows = await runPrepared(db, plan.sql, keys);
  const first = rows.find(isFirst);
  if (first?.[0] == null || Number(first[0]) !== registryVersion) throw new RegistryMoved();
  return rows;
}

/** The row that has the version and the time: of the first key, or of none. */
function isFirst(row: TextRow): boolean {
  return row[2] == null || row[2] === '1';
}

function answerText(plan: ReadPlan, count: number, rows: readonly TextRow[]): string {
  const asOf = timestampCell(rows.find(isFirst)?.[1] ?? '');
  const byKey = new Array<TextRow | undefined>(count);
  for (const row of rows) if (row[2] != null) byKey[Number(row[2]) - 1] = row;
  const times = plan.views.map(({ eventAt }) => byKey.map((row) => eventTime(row?.[eventAt] ?? null)).join(','));
  const columns = plan.columns.map(({ name, type, view, at }) => {
    const eventAt = plan.views[view]?.eventAt ?? 0;
    const values = new Array<string>(count);
    const statuses = new Array<string>(count);
    for (let key = 0; key < count; key++) {
      const row = byKey[key];
      const text = row?.[at] ?? null;
      let status = '"PRESENT"';
      // The first that holds.
      if (row?.[eventAt] == null) status = '"NOT_FOUND"';
      else if (row[eventAt + 1] !== 't') status = '"OUTSIDE_MAX_AGE"';
      else if (text === null) status = '"NULL_VALUE"';
      statuses[key] = status;
      values[key] = status === '"PRESENT"' ? cellToJson(type, fromPostgres(type, text)) : 'null';
    }
    return `${JSON.stringify(name)}:{"values":[${values.join(',')}],"statuses":[${statuses.join(',')}],"eventTimestamps":[${times[view]}]}`;
  });
  return `{"asOf":"${asOf}","columns":{${columns.join(',')}}}`;
}

function eventTime(text: string | null): string {
  return text === null ? 'null' : `"${timestampCell(text)}"`;
}
