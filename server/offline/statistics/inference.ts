import type { Column } from '../../../contract/api';
import { isKeyType, parseValueType } from '../../../contract/valueTypes';
import { quoteName } from '../../postgres/identifiers';
import type { CellInference, CellStatistics, Chosen } from '../protocol';
import { datasetAt, plainSelect, ROW_COLUMN } from '../worker/datasetTable';
import type { DatasetRef } from '../protocol';
import type { Session } from '../worker/lake';
import { cellOfPlain, chunkColumns } from '../worker/plainValues';
import { TypeGuess } from '../worker/typeGuess';

const SAMPLES = 5;
/** How many rows are read to explain why a column is text. */
const EXPLAINED_ROWS = 10_000;
/** How many columns are tried as keys, and how many together. */
const MOST_CANDIDATES = 8;

const createdNames =
  /^(?:created|inserted|ingested|loaded|recorded|known|updated)(?:_?(?:timestamp|time|at|on|date))?$/i;
const eventNames = /^(?:event_?(?:timestamp|time|at)?|timestamp|ts|time|datetime|date_?time|time_hour|occurred_?at)$/i;
const keyNames = /(?:^|_)(?:id|key|code|num|number|no|uuid)$|id$|num$/i;

/** Guesses what a dataset's columns are for, each guess with its reason. */
export async function inferRoles(
  session: Session,
  ref: DatasetRef,
  statistics: Record<string, CellStatistics>,
  entities: readonly { name: string; keys: string[] }[],
): Promise<CellInference> {
  const columns = await explainColumns(session, ref);
  const times = ref.columns.filter((column) => column.type === 'timestamp').map((column) => column.name);
  const createdTimestamp = chooseCreated(times);
  const eventTimestamp = chooseEvent(
    times.filter((name) => !createdTimestamp.columns.includes(name)),
    columns,
  );
  const keys =
    entityKeys(ref.columns, entities) ?? (await uniqueKeys(session, ref, statistics, eventTimestamp.columns[0]));
  return { columns, keys, eventTimestamp, createdTimestamp };
}

async function explainColumns(session: Session, ref: DatasetRef): Promise<CellInference['columns']> {
  const types = ref.columns.map((column) => parseValueType(column.type));
  const guesses = ref.columns.map(() => new TypeGuess());
  const samples = ref.columns.map(() => new Set<string>());
  let row = 0;
  const sql = `${plainSelect(ref.columns, datasetAt(ref))} ORDER BY ${ROW_COLUMN} LIMIT ${EXPLAINED_ROWS}`;
  for await (const chunk of session.chunks(sql)) {
    chunkColumns(chunk).forEach((values, index) => {
      const type = types[index];
      const some = samples[index];
      if (!type || !some) return;
      values.forEach((value, at) => {
        if (type.kind === 'string' && typeof value === 'string') guesses[index]?.see(value, row + at);
        const cell = some.size < SAMPLES ? cellOfPlain(type, value) : null;
        if (cell !== null) some.add(cell);
      });
    });
    row += chunk.rowCount;
  }
  return ref.columns.map(({ name, type }, index) => {
    const guess = guesses[index]?.guess();
    const isText = type === 'string' && guess?.type === 'string';
    return { name, type, samples: [...(samples[index] ?? [])], reason: isText ? guess.reason : `stored as ${type}` };
  });
}

function chooseCreated(times: string[]): Chosen {
  const name = times.find((one) => createdNames.test(one));
  return name === undefined
    ? { columns: [], reason: 'no timestamp column is named like one, such as created_timestamp or inserted_at' }
    : { columns: [name], reason: `${name} is a timestamp, and its name says when a row was recorded` };
}

function chooseEvent(times: string[], columns: CellInference['columns']): Chosen {
  const named = times.find((one) => eventNames.test(one));
  if (named !== undefined) return { columns: [named], reason: `${named} is a timestamp, and its name says when` };
  const [only, other] = times;
  if (only !== undefined && other === undefined) return { columns: [only], reason: `${only} is the only timestamp` };
  if (only !== undefined) return { columns: [only], reason: `${only} is the first of ${times.length} timestamps` };
  const zoneless = columns.find((column) => column.reason.includes('without a zone'));
  if (zoneless) {
    return {
      columns: [],
      reason: `${zoneless.name} holds times without a zone: write Z or an offset, or name the zone in the view's source`,
    };
  }
  return { columns: [], reason: 'there is no timestamp column' };
}

function entityKeys(
  columns: readonly Column[],
  entities: readonly { name: string; keys: string[] }[],
): Chosen | undefined {
  const names = new Set(columns.map((column) => column.name));
  const fitting = entities.filter((entity) => entity.keys.every((key) => names.has(key)));
  const [best] = fitting.sort((a, b) => b.keys.length - a.keys.length || (a.name < b.name ? -1 : 1));
  return best && { columns: best.keys, reason: `the join key of entity ${best.name}` };
}

/** The fewest columns that, with the event time, name each row once. */
async function uniqueKeys(
  session: Session,
  ref: DatasetRef,
  statistics: Record<string, CellStatistics>,
  event: string | undefined,
): Promise<Chosen> {
  const candidates = ref.columns
    .filter(({ name, type }) => {
      const counts = statistics[name];
      return (
        name !== event &&
        type !== 'timestamp' &&
        type !== 'bool' &&
        isKeyType(parseValueType(type)) &&
        counts?.nulls === 0
      );
    })
    .map(({ name }, index) => ({ name, rank: (keyNames.test(name) ? 0 : 1_000) + index }))
    .sort((a, b) => a.rank - b.rank)
    .slice(0, MOST_CANDIDATES)
    .map(({ name }) => name);
  const singles = candidates.map((name) => [name]);
  const pairs = candidates.flatMap((first, at) => candidates.slice(at + 1).map((second) => [first, second]));
  for (const columns of [...singles, ...pairs]) {
    if (!(await isUnique(session, ref, event === undefined ? columns : [...columns, event]))) continue;
    const which = columns.length === 1 ? `${columns[0]} has` : `${columns.join(' and ')} together have`;
    const when = event === undefined ? '' : ` at each ${event}`;
    return { columns, reason: `${which} no nulls, and no value twice${when}` };
  }
  const named = candidates.find((name) => keyNames.test(name));
  if (named !== undefined) return { columns: [named], reason: `${named} is named like a key, but is not unique` };
  return { columns: [], reason: 'no column or pair of columns names each row once' };
}

async function isUnique(session: Session, ref: DatasetRef, columns: string[]): Promise<boolean> {
  const list = columns.map(quoteName).join(', ');
  const twice = await session.rows(
    `SELECT 1 AS one FROM ${datasetAt(ref)} GROUP BY ${list} HAVING count(*) > 1 LIMIT 1`,
  );
  return twice.length === 0;
}
