import { rename, rm, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Column } from '../../../contract/api';
import { MAX_PROBLEMS, type Problem } from '../../../contract/errors';
import { parseValueType } from '../../../contract/valueTypes';
import { quoteName } from '../../postgres/identifiers';
import { ContentHash } from '../contentHash';
import { hashFile } from '../hashFile';
import type { Spine, TrainingSetBuild, WorkerCalls } from '../protocol';
import { datasetAt, plainSelect, ROW_COLUMN } from './datasetTable';
import { currentSnapshot, lakeTable, quoteText, type Lake, type Session } from './lake';
import { fromCell, lakeType } from './lakeTypes';
import { chunkColumns } from './plainValues';
import { winners } from './pointInTime';
import { PARQUET_OPTIONS } from './rowFile';
import { refused } from './staged';
import { tryAs } from './stageCsv';

type Build = WorkerCalls['buildTrainingSet'];
/** The event time of the matched row, beside features of any name: no name of ours has two underscores. */
const MATCHED = '__loft_matched';
const LONGEST_LINE = 67_108_864;

/**
 * Builds a training set: each row of the spine in its order, and beside it the values of its features as of its time. Written
 * as one Parquet file whose bytes depend on nothing but the rows.
 */
export function buildTrainingSet(lake: Lake, request: Build['request']): Promise<Build['answer']> {
  return lake.read(async (session) => {
    const snapshot = await currentSnapshot(session);
    await loadSpine(session, request);
    const spineHash = await hashOf(session, request.spineTypes, `spine ORDER BY ${ROW_COLUMN}`);
    const views: JoinedView[] = [];
    for (const index of request.views.keys()) views.push(await joinView(session, request, index, snapshot));
    const columns = [...request.spineTypes, ...request.features.map(({ column, type }) => ({ name: column, type }))];
    await writeAtomically(request.target, (file) => writeResult(session, request, views, file));
    const file = `read_parquet(${quoteText(request.target)})`;
    const rows = await session.count(`SELECT count(*) FROM ${file}`);
    const asked = await session.count('SELECT count(*) FROM spine');
    if (rows !== asked) throw new Error(`a left join made ${rows} rows of ${asked}: is a write_seq twice in history?`);
    return {
      rows,
      columns,
      spineHash,
      contentHash: await hashOf(session, columns, file),
      ...(await hashFile(request.target)),
      snapshot,
      warnings: await warningsOf(session, request, views),
    };
  });
}

/** `from` says the order. */
async function hashOf(session: Session, columns: readonly Column[], from: string): Promise<string> {
  const hash = new ContentHash(columns.map((column) => parseValueType(column.type)));
  for await (const chunk of session.chunks(plainSelect(columns, from))) hash.update(chunkColumns(chunk));
  return hash.digest();
}

/** The spine as a table of this session: ROW_COLUMN from 0 in its order, then its columns in the types they take. */
async function loadSpine(session: Session, request: TrainingSetBuild): Promise<void> {
  const { spine, spineTypes } = request;
  const columns = spineTypes.map((column, index) => {
    const found = spine.columns[index]?.type ?? column.type;
    const value = quoteName(column.name);
    return { ...column, found, value, sql: found === column.type ? value : asType(found, column.type, value) };
  });
  await session.run(
    `CREATE TEMP TABLE raw_spine AS SELECT row_number() OVER () - 1 AS ${ROW_COLUMN}, * FROM (${spineRows(spine)})`,
  );
  await refuseMisfits(session, columns, request.eventTimestamp);
  const list = columns.map((column) => `${column.sql} AS ${column.value}`);
  await session.run(
    `CREATE TEMP TABLE spine AS SELECT ${ROW_COLUMN}, ${list.join(', ')} FROM raw_spine ORDER BY ${ROW_COLUMN}`,
  );
  await session.run('DROP TABLE raw_spine');
}

function spineRows(spine: Spine): string {
  const names = spine.columns.map((column) => quoteName(column.name));
  if ('dataset' in spine) return `SELECT ${names.join(', ')} FROM ${datasetAt(spine)} ORDER BY ${ROW_COLUMN}`;
  const cells = spine.columns.map(
    (column, index) => `${fromCell(parseValueType(column.type), `cells[${index + 1}]`)} AS ${names[index]}`,
  );
  return `SELECT ${cells.join(', ')} FROM read_json(${quoteText(spine.file)}, format = 'newline_delimited',
    records = false, columns = {cells: 'VARCHAR[]'}, maximum_object_size = ${LONGEST_LINE})`;
}

/** A spine's key or time in the type that it takes; NULL where it doesn't fit. */
function asType(found: string, wanted: string, value: string): string {
  const type = parseValueType(wanted);
  const from = parseValueType(found).kind;
  if (from === 'string') return tryAs(wanted, value);
  if (type.kind === 'string') return `CAST(${value} AS VARCHAR)`;
  const whole = ['int32', 'int64', 'decimal'];
  if (whole.includes(from) && whole.includes(type.kind)) {
    const cast = `TRY_CAST(${value} AS ${lakeType(type)})`;
    return `CASE WHEN ${cast} = ${value} THEN ${cast} END`;
  }
  if ((from === 'float64' || from === 'float32') && whole.includes(type.kind)) {
    // A column of whole numbers with nulls comes from pandas as floats.
    return `CASE WHEN ${value} = trunc(${value}) AND abs(${value}) < 9007199254740992 THEN TRY_CAST(${value} AS ${lakeType(type)}) END`;
  }
  return `CAST(NULL AS ${lakeType(type)})`;
}

async function refuseMisfits(
  session: Session,
  columns: readonly { name: string; type: string; found: string; value: string; sql: string }[],
  eventTimestamp: string,
): Promise<void> {
  const problems: Problem[] = [];
  for (const { name, type, found, value, sql } of columns) {
    if (found === type) continue;
    const misfits = await session.rows(
      `SELECT ${ROW_COLUMN} AS row, CAST(${value} AS VARCHAR) AS text FROM raw_spine
       WHERE ${value} IS NOT NULL AND (${sql}) IS NULL ORDER BY ${ROW_COLUMN} LIMIT ${MAX_PROBLEMS}`,
    );
    for (const { row, text } of misfits) {
      const shown = JSON.stringify(String(text).slice(0, 60));
      problems.push(
        name === eventTimestamp
          ? {
              row: Number(row),
              field: name,
              code: 'no_zone',
              found: `${shown} (${found})`,
              expected:
                'a time with its zone, such as 2013-01-31T05:00:00Z: write Z or an offset into the spine and upload it again',
            }
          : { row: Number(row), field: name, code: 'wrong_type', found: `${shown} (${found})`, expected: type },
      );
    }
  }
  if (problems.length > 0) {
    throw refused('bad_spine', 'The spine does not fit the features', problems.slice(0, MAX_PROBLEMS), problems.length);
  }
}

interface JoinedView {
  /** Of this session: (row, seq, ets). Undefined while the view has no history. */
  winners: string | undefined;
  history: string;
  columns: ReadonlySet<string>;
}

async function joinView(
  session: Session,
  request: TrainingSetBuild,
  index: number,
  snapshot: number,
): Promise<JoinedView> {
  const view = request.views[index];
  if (!view) throw new Error('no such view');
  const history = `${lakeTable('main', view.table)} AT (VERSION => ${snapshot})`;
  if (!(await tableExists(session, view.table, snapshot))) return { winners: undefined, history, columns: new Set() };
  const table = `winners_${index}`;
  const keys = view.keys.map((key) => key.name);
  const query = winners(
    { history, keys: view.keys, spineKeys: keys },
    { table: 'spine', time: request.eventTimestamp },
    request.asKnownAt,
  );
  await session.run(`CREATE TEMP TABLE ${table} AS ${query}`);
  return { winners: table, history, columns: new Set(await session.columnNames(`SELECT * FROM ${history}`)) };
}

/** Asked of the catalog and not of DuckDB, which knows only what stands now. */
async function tableExists(session: Session, table: string, snapshot: number): Promise<boolean> {
  const found = await session.count(
    `SELECT count(*) FROM __ducklake_metadata_lake.ducklake_table t
     JOIN __ducklake_metadata_lake.ducklake_schema s USING (schema_id)
     WHERE s.schema_name = 'main' AND t.table_name = $1
       AND t.begin_snapshot <= $2 AND (t.end_snapshot IS NULL OR t.end_snapshot > $2)`,
    [table, BigInt(snapshot)],
  );
  return found > 0;
}

/** Features are gathered by write_seq; the ttl is a CASE of the select list, where it can't spoil the join. */
async function writeResult(
  session: Session,
  request: TrainingSetBuild,
  views: readonly JoinedView[],
  file: string,
): Promise<void> {
  const time = quoteName(request.eventTimestamp);
  const list = request.spineTypes.map((column) => `s.${quoteName(column.name)} AS ${quoteName(column.name)}`);
  for (const feature of request.features) {
    const view = views[feature.view];
    const ttl = request.views[feature.view]?.ttlSeconds;
    const type = lakeType(parseValueType(feature.type));
    const name = quoteName(feature.column);
    if (!view?.winners || !view.columns.has(feature.feature)) list.push(`CAST(NULL AS ${type}) AS ${name}`);
    else {
      const value = `g${feature.view}.${quoteName(feature.feature)}`;
      list.push(
        `${ttl === undefined ? value : `CASE WHEN ${isFresh(`s.${time}`, `g${feature.view}.${MATCHED}`, ttl)} THEN ${value} END`} AS ${name}`,
      );
    }
  }
  const gathered = views.flatMap((view, index) => {
    if (!view.winners) return [];
    const picked = request.features.filter((one) => one.view === index && view.columns.has(one.feature));
    const features = [...new Set(picked.map((one) => `h.${quoteName(one.feature)}`))];
    return [
      `LEFT JOIN (SELECT ${[`w.${ROW_COLUMN}`, `w.ets AS ${MATCHED}`, ...features].join(', ')}
         FROM ${view.winners} w JOIN (FROM ${view.history}) h ON w.seq = h.write_seq) g${index} ON s.${ROW_COLUMN} = g${index}.${ROW_COLUMN}`,
    ];
  });
  await session.run(
    `COPY (SELECT ${list.join(', ')} FROM spine s ${gathered.join('\n')} ORDER BY s.${ROW_COLUMN})
     TO ${quoteText(file)} (${PARQUET_OPTIONS})`,
  );
}

/** Inclusive: a value exactly as old as the ttl still counts. */
function isFresh(time: string, ets: string, ttlSeconds: number): string {
  return `epoch_us(${time}) - epoch_us(${ets}) <= ${BigInt(ttlSeconds) * 1_000_000n}`;
}

async function writeAtomically(target: string, write: (file: string) => Promise<void>): Promise<void> {
  await mkdir(dirname(target), { recursive: true, mode: 0o700 });
  const unfinished = `${target}.unfinished`;
  try {
    await rm(unfinished, { force: true });
    await write(unfinished);
    await rename(unfinished, target);
  } finally {
    await rm(unfinished, { force: true });
  }
}

/** A view that gave values to fewer of the rows than this is worth a word. */
const FEW = 0.5;
const EXPIRED_WORTH_A_WORD = 0.05;

async function warningsOf(
  session: Session,
  request: TrainingSetBuild,
  views: readonly JoinedView[],
): Promise<string[]> {
  const rows = await session.count('SELECT count(*) FROM spine');
  const warnings: string[] = [];
  if (rows === 0) return ['The spine has no rows.'];
  const time = quoteName(request.eventTimestamp);
  const timeless = await session.count(`SELECT count(*) FROM spine WHERE ${time} IS NULL`);
  if (timeless > 0) warnings.push(`${timeless} of ${rows} rows have no ${request.eventTimestamp} and match nothing.`);
  for (const [index, view] of views.entries()) {
    const of = request.views[index];
    if (!of) continue;
    const name = `${of.name}@v${of.version}`;
    if (!view.winners) {
      warnings.push(`${name} has no rows in history: its features are null in all ${rows} rows.`);
      continue;
    }
    const ttl = of.ttlSeconds;
    const fresh = ttl === undefined ? 'true' : isFresh(`s.${time}`, 'w.ets', ttl);
    const counts = await session.row(
      `SELECT count(*) AS matched, count(*) FILTER (NOT (${fresh})) AS expired FROM ${view.winners} w JOIN spine s USING (${ROW_COLUMN})`,
    );
    const matched = Number(counts['matched']);
    const expired = Number(counts['expired']);
    const keys = of.keys.map((key) => key.name).join(', ');
    if (matched / rows < FEW) {
      warnings.push(
        `${name}: ${rows - matched} of ${rows} rows (${percent(rows - matched, rows)}) found no value of their ${keys} at or before their time${request.asKnownAt ? ' that was known by then' : ''}.`,
      );
    }
    if (expired / rows >= EXPIRED_WORTH_A_WORD) {
      warnings.push(
        `${name}: ${expired} of ${rows} rows (${percent(expired, rows)}) are null because the value was older than the ttl of ${ttl} s.`,
      );
    }
  }
  return warnings;
}

function percent(part: number, whole: number): string {
  return `${Math.round((100 * part) / whole)} %`;
}
