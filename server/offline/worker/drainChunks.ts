import { listValue } from '@duckdb/node-api';
import { LoftError } from '../../../contract/errors';
import { parseValueType } from '../../../contract/valueTypes';
import { quoteName } from '../../postgres/identifiers';
import type { DrainChunk, HistoryTable, WorkerCalls } from '../protocol';
import { recordNewFiles } from './dataFiles';
import { currentSnapshot, lakeTable, quoteText, type Lake, type Session } from './lake';
import { fromCell, lakeType } from './lakeTypes';

type Drain = WorkerCalls['drain'];

/** Rows in a chunk are numbered below this: write_seq = batch · 2^20 + position. */
const CHUNK_ROWS = 1_048_576;
/** A line of a chunk: at most the 16 MB of a chunk, somewhat more by JSON's escapes. */
const LONGEST_LINE = 33_554_432;

/**
 * Adds outbox chunks to history, all or none. Chunks that are in already are skipped. The lake's epoch row is written in the same
 * transaction, so that of two writers one conflicts; 409 `stale_lease` when a later one has been here.
 */
export async function drainChunks(lake: Lake, request: Drain['request']): Promise<Drain['answer']> {
  const done = await lake.write(async (session) => {
    await claimEpoch(session, request.epoch);
    const chunks = await unknownChunks(session, request.chunks);
    if (chunks.length === 0) return undefined;
    let rows = 0;
    for (const table of request.tables) {
      const ofTable = chunks.filter((chunk) => chunk.table === table.table);
      if (ofTable.length === 0) continue;
      await provideTable(session, table);
      for (const group of groupByColumns(ofTable)) rows += await insertChunks(session, table, group);
      await recordNewFiles(lake, session, 'main', table.table, writtenBy(ofTable));
    }
    const added = chunks.map((chunk) => chunk.batch);
    await session.run('INSERT INTO lake.loft.drained_chunks SELECT unnest($1)', [listValue(added.map(BigInt))]);
    return { added, rows };
  });
  return done ?? { added: [], rows: 0, snapshot: await lake.read(currentSnapshot) };
}

async function claimEpoch(session: Session, epoch: number): Promise<void> {
  const last = await session.count('SELECT epoch FROM lake.loft.lake');
  if (last > epoch) {
    throw new LoftError(
      409,
      'stale_lease',
      `Another gateway has taken over the drain (epoch ${last}, ours ${epoch}). Nothing was written.`,
    );
  }
  await session.run('UPDATE lake.loft.lake SET epoch = $1', [BigInt(epoch)]);
}

async function unknownChunks(session: Session, chunks: DrainChunk[]): Promise<DrainChunk[]> {
  const known = await session.rows('SELECT batch FROM lake.loft.drained_chunks WHERE list_contains($1, batch)', [
    listValue(chunks.map((chunk) => BigInt(chunk.batch))),
  ]);
  const batches = new Set(known.map((row) => Number(row['batch'])));
  return chunks.filter((chunk) => !batches.has(chunk.batch));
}

/** The history table with at least these columns: made, or widened by nullable ones without a default. */
async function provideTable(session: Session, table: HistoryTable): Promise<void> {
  const name = lakeTable('main', table.table);
  const columns = [
    ...[...table.keys, ...table.features].map((column) => ({
      name: column.name,
      type: lakeType(parseValueType(column.type)),
    })),
    { name: 'event_timestamp', type: 'TIMESTAMPTZ' },
    { name: 'created_timestamp', type: 'TIMESTAMPTZ' },
    { name: 'write_seq', type: 'BIGINT' },
  ];
  const list = columns.map((column) => `${quoteName(column.name)} ${column.type}`);
  await session.run(`CREATE TABLE IF NOT EXISTS ${name} (${list.join(', ')})`);
  const standing = new Set(await session.columnNames(`SELECT * FROM ${name}`));
  for (const column of columns) {
    if (!standing.has(column.name)) {
      await session.run(`ALTER TABLE ${name} ADD COLUMN ${quoteName(column.name)} ${column.type}`);
    }
  }
}

function groupByColumns(chunks: DrainChunk[]): DrainChunk[][] {
  const groups = new Map<string, DrainChunk[]>();
  for (const chunk of chunks) {
    const key = JSON.stringify(chunk.columns);
    groups.set(key, [...(groups.get(key) ?? []), chunk]);
  }
  return [...groups.values()];
}

/** Chunks with the same columns → rows of history, sorted by key and time so that a read finds an entity's rows together. */
async function insertChunks(session: Session, table: HistoryTable, chunks: DrainChunk[]): Promise<number> {
  const places = new Map((chunks[0]?.columns ?? []).map((column, index) => [column, `r.cells[${index + 1}]`]));
  const place = (column: string): string => places.get(column) ?? missing(table, column);
  const values = [
    ...[...table.keys, ...table.features].flatMap((column) => {
      const cell = places.get(column.name);
      return cell === undefined ? [] : [{ name: column.name, sql: fromCell(parseValueType(column.type), cell) }];
    }),
    { name: 'event_timestamp', sql: `CAST(${place('event_timestamp')} AS TIMESTAMPTZ)` },
    {
      name: 'created_timestamp',
      sql: `CAST(coalesce(${place('created_timestamp')}, f.clock) AS TIMESTAMPTZ)`,
    },
    { name: 'write_seq', sql: `f.batch * ${CHUNK_ROWS} + CAST(${place('write_seq')} AS BIGINT)` },
  ];
  const files = chunks.map((chunk) => `(${quoteText(chunk.file)}, ${chunk.batch}::BIGINT, ${quoteText(chunk.clock)})`);
  const order = [...table.keys.map((key) => key.name), 'event_timestamp', 'created_timestamp', 'write_seq'];
  const before = chunks.reduce((sum, chunk) => sum + chunk.rows, 0);
  const { Count } = await session.row(
    `INSERT INTO ${lakeTable('main', table.table)} (${values.map((value) => quoteName(value.name)).join(', ')})
     SELECT ${values.map((value) => `${value.sql} AS ${quoteName(value.name)}`).join(', ')}
     FROM read_json([${chunks.map((chunk) => quoteText(chunk.file)).join(', ')}], format = 'newline_delimited',
       records = false, columns = {cells: 'VARCHAR[]'}, compression = 'gzip', filename = true,
       maximum_object_size = ${LONGEST_LINE}) r
     JOIN (VALUES ${files.join(', ')}) f(file, batch, clock) ON r.filename = f.file
     ORDER BY ${order.map(quoteName).join(', ')}`,
  );
  if (Number(Count) !== before) {
    throw new LoftError(
      500,
      'outbox_chunk_damaged',
      `Outbox chunks ${chunks.map((chunk) => chunk.batch).join(', ')} hold ${Number(Count)} rows, and ${before} were recorded.`,
    );
  }
  return before;
}

function missing(table: HistoryTable, column: string): never {
  throw new LoftError(500, 'outbox_chunk_damaged', `An outbox chunk of ${table.table} has no column ${column}.`);
}

function writtenBy(chunks: DrainChunk[]): string {
  const batches = chunks.map((chunk) => chunk.batch);
  const low = BigInt(Math.min(...batches)) * BigInt(CHUNK_ROWS);
  const high = BigInt(Math.max(...batches) + 1) * BigInt(CHUNK_ROWS);
  return `WHERE write_seq >= ${low} AND write_seq < ${high}`;
}
