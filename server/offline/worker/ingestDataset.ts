import type { Column } from '../../../contract/api';
import { MAX_PROBLEMS, type Problem } from '../../../contract/errors';
import { parseValueType } from '../../../contract/valueTypes';
import { quoteName } from '../../postgres/identifiers';
import { ContentHash } from '../contentHash';
import type { DatasetRef, WorkerCalls } from '../protocol';
import { recordNewFiles } from './dataFiles';
import { datasetAt, plainSelect, ROW_COLUMN } from './datasetTable';
import { lakeTable, type Lake, type Session } from './lake';
import { lakeType } from './lakeTypes';
import { chunkColumns } from './plainValues';
import { stage } from './stage';
import { refused, type Staged, type StagedColumn } from './staged';

type Ingest = WorkerCalls['ingestDataset'];

/**
 * Stores an uploaded file as a dataset's next version: rows, files and their hashes in one lake transaction, so that an upload
 * is there as a whole or not at all. An append whose answer was lost is not in `base`, and is left behind by the next one.
 */
export async function ingestDataset(lake: Lake, request: Ingest['request']): Promise<Ingest['answer']> {
  const stored = await lake.write(async (session) => {
    const staged = await stage(session, request.file, request.format);
    const base = request.mode === 'append' ? request.base : null;
    const columns = base ? await columnsOfBase(session, staged, base) : staged.columns;
    const table = lakeTable('datasets', request.name);
    const list = columns.map((column) => `${quoteName(column.name)} ${lakeType(parseValueType(column.type))}`);
    const names = columns.map((column) => quoteName(column.name)).join(', ');
    const hash = new ContentHash(columns.map((column) => parseValueType(column.type)));

    let before = 0;
    if (base) before = await continueFrom(session, base, request.name, hash);
    else await session.run(`CREATE OR REPLACE TABLE ${table} (${ROW_COLUMN} BIGINT, ${list.join(', ')})`);

    const values = columns.map((column) => `${column.sql} AS ${quoteName(column.name)}`);
    await session.run(
      `INSERT INTO ${table} (${ROW_COLUMN}, ${names})
       SELECT ${before} + row_number() OVER () - 1, * FROM (SELECT ${values.join(', ')} FROM ${staged.relation})`,
    );
    await addToHash(session, hash, columns, `${table} WHERE ${ROW_COLUMN} >= ${before} ORDER BY ${ROW_COLUMN}`);
    return {
      rows: await session.count(`SELECT count(*) FROM ${table}`),
      sha256: hash.digest(),
      files: await recordNewFiles(lake, session, 'datasets', request.name),
      columns: columns.map(({ name, type }) => ({ name, type })),
    };
  });
  if (!stored) throw new Error('an upload always changes the lake');
  return stored;
}

async function addToHash(session: Session, hash: ContentHash, columns: Column[], from: string): Promise<void> {
  for await (const chunk of session.chunks(plainSelect(columns, from))) hash.update(chunkColumns(chunk));
}

/** Makes the table be what `base` was, feeds its rows to the hash, and answers how many they are. */
async function continueFrom(session: Session, base: DatasetRef, name: string, hash: ContentHash): Promise<number> {
  const table = lakeTable('datasets', name);
  if (!(await isUnchangedSince(session, base))) {
    await session.run(`CREATE OR REPLACE TABLE ${table} AS SELECT * FROM ${datasetAt(base)} ORDER BY ${ROW_COLUMN}`);
  }
  await addToHash(session, hash, base.columns, `${table} ORDER BY ${ROW_COLUMN}`);
  return session.count(`SELECT count(*) FROM ${table}`);
}

async function isUnchangedSince(session: Session, base: DatasetRef): Promise<boolean> {
  const { latest } = await session.row(
    `SELECT max(greatest(t.begin_snapshot, coalesce(f.begin_snapshot, 0))) AS latest
     FROM __ducklake_metadata_lake.ducklake_table t
     JOIN __ducklake_metadata_lake.ducklake_schema s ON s.schema_id = t.schema_id AND s.schema_name = 'datasets'
     LEFT JOIN __ducklake_metadata_lake.ducklake_data_file f ON f.table_id = t.table_id
     WHERE t.table_name = $1 AND t.end_snapshot IS NULL`,
    [base.dataset],
  );
  return latest !== null && Number(latest) <= base.snapshot;
}

/** The staged columns in the base's order and types. Throws 422 when they are others, or values don't fit. */
async function columnsOfBase(session: Session, staged: Staged, base: DatasetRef): Promise<StagedColumn[]> {
  const found = new Map(staged.columns.map((column) => [column.name, column]));
  const problems: Problem[] = [];
  const columns: StagedColumn[] = [];
  for (const { name, type } of base.columns) {
    const column = found.get(name);
    found.delete(name);
    if (!column) {
      problems.push({ field: name, code: 'missing_column', found: 'no such column', expected: `${name} (${type})` });
      continue;
    }
    const sql = column.type === type ? column.sql : widened(column, type);
    if (sql !== undefined) columns.push({ ...column, type, sql });
    else if (column.tryAs) columns.push({ ...column, type, sql: column.tryAs(type) });
    else problems.push({ field: name, code: 'column_type', found: column.type, expected: type });
  }
  for (const name of found.keys()) {
    problems.push({ field: name, code: 'unknown_column', found: name, expected: 'only the columns of the dataset' });
  }
  if (problems.length > 0) throw refused('bad_columns', `The file can’t be appended to ${base.dataset}`, problems);
  await refuseMisfits(session, staged, columns, base);
  return columns;
}

/** Types that another holds without loss. */
function widened(column: StagedColumn, type: string): string | undefined {
  const wider: Record<string, string[]> = { int32: ['int64', 'float64'], float32: ['float64'] };
  return wider[column.type]?.includes(type) ? `CAST(${column.sql} AS ${lakeType(parseValueType(type))})` : undefined;
}

async function refuseMisfits(
  session: Session,
  staged: Staged,
  columns: StagedColumn[],
  base: DatasetRef,
): Promise<void> {
  const problems: Problem[] = [];
  for (const column of columns.filter((one) => one.tryAs && one.sql === one.tryAs(one.type))) {
    const misfits = await session.rows(
      `SELECT row, text FROM (SELECT row_number() OVER () - 1 AS row, ${column.text} AS text, ${column.sql} AS value
       FROM ${staged.relation}) WHERE value IS NULL AND text IS NOT NULL ORDER BY row LIMIT ${MAX_PROBLEMS}`,
    );
    for (const misfit of misfits) {
      const found = JSON.stringify(String(misfit['text']).slice(0, 60));
      problems.push({
        row: Number(misfit['row']),
        field: column.name,
        code: 'wrong_type',
        found,
        expected: column.type,
      });
    }
  }
  if (problems.length === 0) return;
  const first = problems.slice(0, MAX_PROBLEMS);
  throw refused('bad_values', `The file can’t be appended to ${base.dataset}`, first, problems.length);
}
