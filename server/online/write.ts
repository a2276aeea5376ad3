import { setTimeout as delay } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import type { WriteAnswer } from '../../contract/api';
import { MAX_PROBLEMS } from '../../contract/errors';
import { sqlState, translateAway, type Db } from '../postgres/connect';
import { inTransaction } from '../postgres/transaction';
import type { RegistryCache } from '../registry/cache';
import { resolveView } from '../registry/resolve';
import type { RegistrySnapshot, ViewVersion } from '../registry/snapshot';
import { BulkLoad } from './bulkLoad';
import { translateBusy } from './busy';
import { joinBatches, withoutRows, writeColumns, type CellBatch } from './cellBatch';
import { countWarned, rejectRows } from './checkRows';
import { RowProblems } from './decode/problems';
import type { RowSource } from './decode/rowSource';
import { futureProblem, latestTime, rejectFutureRows } from './futureRows';
import { earlierAnswer, onceOnly, type Idempotency } from './idempotency';
import { inLoadSlot } from './loadSlots';
import { chunkColumns, packBatch } from './outboxChunk';
import { runPrepared, type TextRow } from './preparedStatements';
import { RegistryMoved, withRegistry } from './registryMoved';
import { writeParameters, writeStatement } from './upsert';

export interface WriteContext {
  db: Db;
  registry: RegistryCache;
  /** Who writes, as the outbox tells it. */
  gateway: string;
}

export interface WriteRequest {
  /** `view`, or `view@v2` for a version that need not be the current one. */
  view: string;
  rows: RowSource;
  /** `reject`: one bad row refuses all. `skip`: the good rows are taken, the rest counted. */
  onError: 'reject' | 'skip';
  idempotency?: Idempotency | undefined;
}

/** Up to here one statement is faster than staging (performance.md). */
const ONE_STATEMENT_ROWS = 1_000;
const ONE_STATEMENT_SIZE = 4 * 1024 * 1024;
/** Of putting staged rows in while publishes of other views come between. */
const UPSERT_ATTEMPTS = 20;
const DEADLOCK_ATTEMPTS = 6;
const DEADLOCK_PAUSE_MS = 10;

/**
 * Writes rows to a view's table and, in the same transaction, to the outbox from which history is fed. The greatest triple
 * of (event_timestamp, created_timestamp, write_seq) wins, whatever the order of arrival. `written` counts the entities
 * whose row is one of these now, `superseded` the rows that lost, within the request or to what stood; both go to history.
 *
 * Throws LoftError 404 `unknown_view`; 422 `bad_rows` with every problem's place, or what the rows' source throws; 422
 * `idempotency_mismatch`; 503 when Postgres is away, busy, or the registry keeps moving. Nothing was written then;
 * only when Postgres went away at the commit is that unknown, and the same key sent again tells.
 */
export async function writeRows(context: WriteContext, request: WriteRequest): Promise<WriteAnswer> {
  try {
    const earlier = request.idempotency && (await earlierAnswer<WriteAnswer>(context.db, request.idempotency));
    return earlier ?? (await withRegistry(context, (snapshot) => writeOnce(context, snapshot, request)));
  } catch (error) {
    throw translateBusy(translateAway(error));
  }
}

/** By one statement where that does; a transaction is only opened for more. */
async function writeOnce(
  context: WriteContext,
  snapshot: RegistrySnapshot,
  request: WriteRequest,
): Promise<WriteAnswer> {
  const { db } = context;
  const { idempotency } = request;
  const view = resolveView(snapshot, request.view);
  const rows = await gather(view, request);
  if (rows.rest === undefined && idempotency === undefined) {
    return writeSmall(context, db, snapshot, request, rows, (sql, values) =>
      retryDeadlocks(() => runPrepared(db, sql, values)),
    );
  }
  // The transaction reads the source again from its start, because it may have to do so after a deadlock.
  await rows.rest?.return?.();
  const write = (): Promise<WriteAnswer> =>
    inTransaction(db, (client) => {
      const work = (): Promise<WriteAnswer> => writeWithin(context, client, snapshot, request);
      return idempotency === undefined ? work() : onceOnly(client, idempotency, work);
    });
  return rows.rest === undefined ? write() : inLoadSlot(db, write);
}

async function writeWithin(
  context: WriteContext,
  client: PoolClient,
  snapshot: RegistrySnapshot,
  request: WriteRequest,
): Promise<WriteAnswer> {
  const view = resolveView(snapshot, request.view);
  const rows = await gather(view, request);
  if (rows.rest !== undefined) return writeBulk(context, client, snapshot, request, rows);
  return writeSmall(context, client, snapshot, request, rows, async (sql, values) => {
    const result = await client.query<TextRow>({ text: sql, values, rowMode: 'array' });
    return result.rows;
  });
}

interface Gathered {
  view: ViewVersion;
  problems: RowProblems;
  batches: CellBatch[];
  /** The batches that follow; undefined when that was all. */
  rest: AsyncIterator<CellBatch> | undefined;
}

/** The first batches, until there are more rows than one statement should write. */
async function gather(view: ViewVersion, request: WriteRequest): Promise<Gathered> {
  const problems = new RowProblems();
  const batches: CellBatch[] = [];
  const source = request.rows(view, problems)[Symbol.asyncIterator]();
  let [rows, size] = [0, 0];
  for (let next = await source.next(); next.done !== true; next = await source.next()) {
    batches.push(next.value);
    rows += next.value.rows.length;
    size += next.value.size;
    if (rows > ONE_STATEMENT_ROWS || size > ONE_STATEMENT_SIZE) return { view, problems, batches, rest: source };
  }
  return { view, problems, batches, rest: undefined };
}

async function writeSmall(
  context: WriteContext,
  db: Db | PoolClient,
  snapshot: RegistrySnapshot,
  request: WriteRequest,
  { view, problems, batches }: Gathered,
  run: (sql: string, values: unknown[]) => Promise<TextRow[]>,
): Promise<WriteAnswer> {
  const columns = writeColumns(view);
  let batch = rejectRows(view, joinBatches(batches, columns.list.length), problems);
  for (;;) {
    if (request.onError === 'reject' && !problems.isEmpty) {
      rejectFutureRows(view, batch, await latestTime(db), problems);
      throw problems.refusal(view.name);
    }
    if (batch.rows.length === 0) return answer(batch.rows.length, 0, 0, problems, new RowProblems());
    const [row] = await run(writeStatement(view), [
      ...writeParameters({
        registryVersion: snapshot.registryVersion,
        view,
        columns: JSON.stringify(chunkColumns(columns)),
        rows: batch.rows.length,
        body: packBatch(batch),
        gateway: context.gateway,
      }),
      ...batch.columns,
    ]);
    const [head, written, future] = row ?? [];
    if (head !== '1') throw new RegistryMoved();
    if (future == null) {
      const warnings = new RowProblems();
      const warned = countWarned(view, batch, warnings);
      return answer(batch.rows.length, Number(written), warned, problems, warnings);
    }
    const late = new Set<number>();
    for (const [position, ofEvent] of JSON.parse(future) as [number, boolean][]) {
      problems.add(batch.rows[position] ?? position, futureProblem(view, batch, position, ofEvent));
      late.add(position);
    }
    if (request.onError === 'reject') throw problems.refusal(view.name);
    // Fewer rows are in the future the next time, never more.
    batch = withoutRows(batch, late);
  }
}

async function writeBulk(
  context: WriteContext,
  client: PoolClient,
  snapshot: RegistrySnapshot,
  request: WriteRequest,
  { view, problems, batches, rest }: Gathered,
): Promise<WriteAnswer> {
  const load = new BulkLoad(client, view, context.gateway);
  await load.begin();
  const warnings = new RowProblems();
  let [rows, warned] = [0, 0];
  for await (const batch of continued(batches, rest)) {
    let good = rejectRows(view, batch, problems);
    good = rejectFutureRows(view, good, await latestTime(client), problems);
    // A refused request is read on only to tell all that is wrong with it.
    if (request.onError === 'reject' && !problems.isEmpty) continue;
    warned += countWarned(view, good, warnings);
    rows += good.rows.length;
    await load.stage(good);
  }
  if (request.onError === 'reject' && !problems.isEmpty) throw problems.refusal(view.name);
  const written = await upsertAsOfNow(context, load, snapshot, view, request);
  return answer(rows, written, warned, problems, warnings);
}

/** What was staged stays good when others were published to meanwhile: an unchanged view version is the same object. */
async function upsertAsOfNow(
  context: WriteContext,
  load: BulkLoad,
  decodedBy: RegistrySnapshot,
  view: ViewVersion,
  request: WriteRequest,
): Promise<number> {
  let snapshot = decodedBy;
  for (let attempt = 1; attempt <= UPSERT_ATTEMPTS; attempt++) {
    const written = await load.upsert(snapshot.registryVersion);
    if (written !== undefined) return written;
    snapshot = await context.registry.reload();
    if (resolveView(snapshot, request.view) !== view) break;
  }
  throw new RegistryMoved();
}

async function* continued(
  first: readonly CellBatch[],
  rest: AsyncIterator<CellBatch> | undefined,
): AsyncGenerator<CellBatch, void> {
  try {
    yield* first;
    for (let next = await rest?.next(); next !== undefined && next.done !== true; next = await rest?.next())
      yield next.value;
  } finally {
    await rest?.return?.();
  }
}

function answer(
  rows: number,
  written: number,
  warned: number,
  problems: RowProblems,
  warnings: RowProblems,
): WriteAnswer {
  const listed = [...problems.listed, ...warnings.listed].slice(0, MAX_PROBLEMS);
  return {
    written,
    superseded: rows - written,
    rejected: problems.badRows,
    warned,
    ...(listed.length > 0 ? { problems: listed } : {}),
  };
}

/** A statement alone is its own transaction: a deadlock undid all of it. */
async function retryDeadlocks<Result>(run: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run();
    } catch (error) {
      if (sqlState(error) !== '40P01' || attempt === DEADLOCK_ATTEMPTS) throw error;
      await delay(DEADLOCK_PAUSE_MS * 2 ** attempt * Math.random());
    }
  }
}
