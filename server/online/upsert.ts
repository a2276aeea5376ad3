import { columnType, toPostgres } from '../postgres/columnTypes';
import { featureTable, quoteName } from '../postgres/identifiers';
import type { ViewVersion } from '../registry/snapshot';
import { writeColumns, type WriteColumn } from './cellBatch';
import { MAX_CHUNK_ROWS } from './outboxChunk';

/** How far ahead of the database's clock a time may be. */
export const FUTURE_TOLERANCE = `interval '5 minutes'`;

/** `c0`, `c1`, …: columns of an input by their place in `writeColumns`, so that no feature's name can clash with ours. */
function inputColumn(index: number): string {
  return `c${index}`;
}

/**
 * The one guarded upsert. Of the rows of `from` (typed columns c0, c1, …, the created time filled in, and `write_seq`),
 * the greatest triple of each entity replaces the stored row if it is greater than that row's. Entities are taken in the
 * order of their keys, so that two writers wait for each other rather than deadlock.
 */
function upsertSql(view: ViewVersion, from: string): string {
  const { list, event, created } = writeColumns(view);
  const keys = list.flatMap(({ role }, index) => (role === 'key' ? [index] : []));
  const others = [...list.keys()].filter((index) => !keys.includes(index));
  const name = (index: number): string => quoteName(list[index]?.name ?? '');
  const triple = (table: string): string =>
    [name(event), name(created), '"write_seq"'].map((column) => `${table}.${column}`).join(', ');
  const inputs = [...list.keys()].map(inputColumn).join(', ');
  const keyInputs = keys.map(inputColumn).join(', ');
  return `INSERT INTO ${featureTable(view.name, view.version)} AS stored (${list.map((_, index) => name(index)).join(', ')}, "write_seq")
    SELECT DISTINCT ON (${keyInputs}) ${inputs}, write_seq
    FROM ${from}
    ORDER BY ${keyInputs}, ${inputColumn(event)} DESC, ${inputColumn(created)} DESC, write_seq DESC
    ON CONFLICT (${keys.map(name).join(', ')}) DO UPDATE
    SET ${[...others.map(name), '"write_seq"'].map((column) => `${column} = excluded.${column}`).join(', ')}
    WHERE (${triple('excluded')}) > (${triple('stored')})`;
}

/** The parameters of `writeStatement` before its arrays, which are one a column. */
export interface WriteParameters {
  registryVersion: number;
  view: ViewVersion;
  /** JSON list of the names of a chunk line's cells. */
  columns: string;
  rows: number;
  body: Buffer;
  gateway: string;
}

export function writeParameters(given: WriteParameters): unknown[] {
  const { registryVersion, view, columns, rows, body, gateway } = given;
  return [registryVersion, view.name, view.version, columns, rows, body, gateway];
}
const FIRST_ARRAY = 8;

const known = new WeakMap<ViewVersion, string>();

/**
 * One batch written whole or not at all, with its outbox chunk, in one statement. Writes nothing when the registry's head
 * is another version, or when a time lies too far ahead. Answers one row: whether the head matched, how many rows stand in
 * the table now, and the rows with future times as JSON `[[position, of the event time?], …]` or null.
 */
export function writeStatement(view: ViewVersion): string {
  let sql = known.get(view);
  if (sql === undefined) known.set(view, (sql = makeWriteStatement(view)));
  return sql;
}

function makeWriteStatement(view: ViewVersion): string {
  const { list, event, created } = writeColumns(view);
  const arrays = list.map((_, index) => `$${FIRST_ARRAY + index}::text[]`).join(', ');
  const given = list.map((_, index) => inputColumn(index)).join(', ');
  const typed = list.map((column, index) => `${typedInput(column, index)} AS ${inputColumn(index)}`);
  const eventInFuture =
    view.definition.allow_future_events === true
      ? 'false'
      : `${inputColumn(event)} > statement_timestamp() + ${FUTURE_TOLERANCE}`;
  const createdInFuture = `coalesce(${inputColumn(created)} > statement_timestamp() + ${FUTURE_TOLERANCE}, false)`;
  const filled = list.map((_, index) =>
    index === created
      ? `coalesce(${inputColumn(index)}, statement_timestamp()) AS ${inputColumn(index)}`
      : inputColumn(index),
  );
  return `
    WITH head AS MATERIALIZED (SELECT FROM registry.head WHERE registry_version = $1::bigint),
    input AS MATERIALIZED (
      SELECT u.n - 1 AS position, ${typed.join(', ')}
      FROM unnest(${arrays}) WITH ORDINALITY AS u(${given}, n)
    ),
    future AS MATERIALIZED (
      SELECT position, ${eventInFuture} AS of_event FROM input WHERE ${eventInFuture} OR ${createdInFuture}
    ),
    batch AS MATERIALIZED (
      SELECT nextval('registry.batch_seq') AS number FROM head WHERE NOT EXISTS (SELECT FROM future)
    ),
    outbox AS (
      INSERT INTO registry.outbox (batch, view, version, columns, row_count, newest_event, clock, body, gateway)
      SELECT number, $2::text, $3::integer, $4::json, $5::integer, (SELECT max(${inputColumn(event)}) FROM input),
        statement_timestamp(), $6::bytea, $7::text
      FROM batch
    ),
    upserted AS (
      ${upsertSql(view, `(SELECT ${filled.join(', ')}, batch.number * ${MAX_CHUNK_ROWS} + position AS write_seq FROM batch, input) AS rows`)}
      RETURNING 1
    )
    SELECT (SELECT count(*) FROM head), (SELECT count(*) FROM upserted),
      (SELECT json_agg(json_build_array(position, of_event) ORDER BY position) FROM future)`;
}

/** String keys are ordered by bytes on either way of writing, whatever the database's own order. */
function typedInput(column: WriteColumn, index: number): string {
  const typed = toPostgres(column.type).cast(`u.${inputColumn(index)}`);
  return column.role === 'key' && column.type.kind === 'string' ? `(${typed}) COLLATE "C"` : typed;
}

/** A session's table that a bulk load is staged in. Lists and bytes wait as text; the rest is what COPY reads. */
export function stagingSql(view: ViewVersion): { create: string; copy: string; upsert: string } {
  const { list } = writeColumns(view);
  const columns = list.map((column, index) => `${inputColumn(index)} ${stagedType(column)}`);
  const typed = list.map((column, index) =>
    stagedType(column) === 'text' && column.type.kind !== 'string'
      ? `${toPostgres(column.type).cast(inputColumn(index))} AS ${inputColumn(index)}`
      : inputColumn(index),
  );
  return {
    create: `CREATE TEMP TABLE loft_staged (${columns.join(', ')}, write_seq bigint) ON COMMIT DROP`,
    copy: 'COPY pg_temp.loft_staged FROM STDIN',
    upsert: `
      WITH head AS MATERIALIZED (SELECT FROM registry.head WHERE registry_version = $1::bigint),
      upserted AS (
        ${upsertSql(view, `(SELECT ${typed.join(', ')}, write_seq FROM head, pg_temp.loft_staged) AS rows`)}
        RETURNING 1
      )
      SELECT (SELECT count(*) FROM head), (SELECT count(*) FROM upserted)`,
  };
}

function stagedType({ type, role }: WriteColumn): string {
  if (['bytes', 'list', 'embedding'].includes(type.kind)) return 'text';
  return columnType(type, role === 'key' ? 'key' : 'feature');
}
