import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { EntityDefinition, ViewDefinition } from '../../contract/definitions';
import { LoftError } from '../../contract/errors';
import { parseJson } from '../../contract/json';
import type { Log } from '../log';
import { timestampCell } from '../postgres/columnTypes';
import type { Db } from '../postgres/connect';
import { bareTable } from '../postgres/identifiers';
import { inTransaction } from '../postgres/transaction';
import type { DrainLease } from './drainLease';
import type { LakeAccess } from './lakeAccess';
import type { DrainChunk, HistoryTable } from './protocol';
import type { WorkerProcess } from './workerProcess';

/** How often the outbox is looked at when nobody rings. */
const POLL_MS = 2_000;
/** Between two drains, so that a stream of small writes makes few small files. Skipped while somebody waits. */
const PAUSE_MS = 1_000;
const FIRST_BACKOFF_MS = 1_000;
const LONGEST_BACKOFF_MS = 30_000;
const MOST_CHUNKS = 500;
const MOST_BYTES = 64 * 1024 * 1024;
const BEHIND_MS = 30_000;
const LOOK_AGAIN_MS = 100;
const RETRY_AFTER_SECONDS = 5;
const PARKED_MS = 60_000;

export interface DrainOptions {
  db: Db;
  worker: WorkerProcess;
  access: LakeAccess;
  lease: DrainLease;
  tmpDir: string;
  log: Log;
  /** How long a chunk that failed alone is set aside. */
  parkedMs?: number | undefined;
}

interface Waiting {
  batch: number;
  view: string;
  version: number;
  columns: string[];
  rows: number;
  clock: string;
  bytes: number;
}

/**
 * Brings written rows from the outbox in Postgres to history in the lake, each chunk exactly once: a chunk leaves the outbox only
 * after the lake's commit, and the lake skips the chunks it has.
 */
export class Drain {
  private running: Promise<void> | undefined;
  private stopping = false;
  private ring: (() => void) | undefined;
  private rung = false;
  private waiters = 0;
  /** Chunks that failed alone, by their batch: left in the outbox, and tried again once they have been aside for a while. */
  private readonly parked = new Map<number, { why: string; until: number }>();
  private oneByOne = false;
  private lastFailure: string | undefined;

  constructor(private readonly options: DrainOptions) {}

  start(): void {
    this.running ??= this.run();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    this.wake();
    await this.running;
  }

  /** Looks at the outbox now and not at the next poll. */
  wake(): void {
    this.rung = true;
    this.ring?.();
  }

  /** Waits until every chunk that is committed now has reached the lake. Throws 503 `outbox_behind` after 30 s. */
  async answered(): Promise<void> {
    const { db } = this.options;
    const { rows } = await db.query<{ marker: string }>(
      'SELECT coalesce(max(batch), 0) AS marker FROM registry.outbox',
    );
    const marker = Number(rows[0]?.marker ?? 0);
    const end = performance.now() + BEHIND_MS;
    this.waiters++;
    try {
      while (await this.isBehind(marker)) {
        const stuck = [...this.parked].find(([batch]) => batch <= marker);
        if (stuck) {
          const [batch, { why }] = stuck;
          throw new LoftError(
            503,
            'outbox_stuck',
            `Written rows can't be brought to history: chunk ${batch} of the outbox is refused (${why}). It is kept and tried again; the log of the worker says more.`,
            { retryAfterSeconds: this.parkedMs / 1_000 },
          );
        }
        if (performance.now() > end) throw await this.behind();
        this.wake();
        await pause(LOOK_AGAIN_MS);
      }
    } finally {
      this.waiters--;
    }
  }

  private async isBehind(marker: number): Promise<boolean> {
    if (marker === 0) return false;
    const { rows } = await this.options.db.query<{ behind: string }>(
      'SELECT EXISTS (SELECT 1 FROM registry.outbox WHERE batch <= $1) AS behind',
      [marker],
    );
    return rows[0]?.behind === 't';
  }

  private async behind(): Promise<LoftError> {
    const { holder, url, standing } = await this.options.lease.who();
    const who =
      holder !== null && standing
        ? `gateway ${holder}${url === null ? '' : ` (${url})`} drains`
        : 'no gateway drains it now';
    const why = this.lastFailure === undefined ? '' : ` Its last try failed: ${this.lastFailure}`;
    return new LoftError(
      503,
      'outbox_behind',
      `Written rows have not reached history within ${BEHIND_MS / 1_000} s; ${who}.${why} Try again.`,
      { retryAfterSeconds: RETRY_AFTER_SECONDS },
    );
  }

  private async run(): Promise<void> {
    let backoff = FIRST_BACKOFF_MS;
    while (!this.stopping) {
      try {
        const drained = await this.once();
        backoff = FIRST_BACKOFF_MS;
        if (drained === 0) await this.sleep(POLL_MS, true);
        else if (this.waiters === 0) await this.sleep(PAUSE_MS, false);
      } catch (error) {
        this.lastFailure = error instanceof LoftError ? error.detail : 'unexpectedly; the log says how.';
        this.options.log.error('drain failed', error);
        if (error instanceof LoftError && error.code === 'lake_elsewhere') backoff = LONGEST_BACKOFF_MS;
        await this.sleep(backoff, this.waiters > 0 && backoff < LONGEST_BACKOFF_MS);
        backoff = Math.min(LONGEST_BACKOFF_MS, backoff * 2);
      }
    }
  }

  /** `wakeable`: a ring ends it. */
  private async sleep(ms: number, wakeable: boolean): Promise<void> {
    if (this.stopping || (wakeable && this.rung)) {
      this.rung = false;
      return;
    }
    await new Promise<void>((done) => {
      const timer = setTimeout(done, ms);
      this.ring = () => {
        if (!wakeable && !this.stopping && this.waiters === 0) return;
        clearTimeout(timer);
        done();
      };
    });
    this.ring = undefined;
    this.rung = false;
  }

  /** Takes one batch of chunks, and answers how many it took. */
  private async once(): Promise<number> {
    const { access, lease } = this.options;
    await access.requireLake();
    const epoch = await lease.take(true);
    if (epoch === undefined) return 0;
    const chunks = await this.nextChunks();
    if (chunks.length === 0) {
      this.oneByOne = false;
      return 0;
    }
    const tables = await this.tablesOf(chunks);
    const wanted = chunks.filter((chunk) => tables.has(bareTable(chunk.view, chunk.version)));
    try {
      const snapshot = wanted.length > 0 ? await this.toLake(epoch, wanted, tables) : null;
      await this.finish(epoch, chunks, snapshot);
      this.lastFailure = undefined;
      return chunks.length;
    } catch (error) {
      this.isolate(chunks, error);
      throw error;
    }
  }

  /** A chunk that can't be read must not hold up the others: they are tried one by one, and it is set aside. */
  private isolate(chunks: Waiting[], error: unknown): void {
    if (!(error instanceof LoftError) || !['outbox_chunk_damaged', 'offline_failed'].includes(error.code)) return;
    const [only] = chunks;
    if (chunks.length > 1) this.oneByOne = true;
    else if (only) this.parked.set(only.batch, { why: error.detail, until: performance.now() + this.parkedMs });
  }

  private get parkedMs(): number {
    return this.options.parkedMs ?? PARKED_MS;
  }

  private async nextChunks(): Promise<Waiting[]> {
    for (const [batch, { until }] of this.parked) if (until <= performance.now()) this.parked.delete(batch);
    const { rows } = await this.options.db.query<Record<keyof Waiting, string>>(
      `SELECT batch, view, version, columns, row_count AS rows, clock, octet_length(body) AS bytes
       FROM registry.outbox WHERE batch <> ALL ($1) ORDER BY batch LIMIT $2`,
      [[...this.parked.keys()], this.oneByOne ? 1 : MOST_CHUNKS],
    );
    const chunks: Waiting[] = [];
    let bytes = 0;
    for (const row of rows) {
      bytes += Number(row.bytes);
      if (chunks.length > 0 && bytes > MOST_BYTES) break;
      chunks.push({
        batch: Number(row.batch),
        view: row.view,
        version: Number(row.version),
        columns: parseJson(row.columns) as string[],
        rows: Number(row.rows),
        clock: timestampCell(row.clock),
        bytes: Number(row.bytes),
      });
    }
    return chunks;
  }

  /** By their names. What was removed from the registry is not in: its rows are wanted no more. */
  private async tablesOf(chunks: Waiting[]): Promise<Map<string, HistoryTable>> {
    const { rows } = await this.options.db.query<{ view: string; version: string; definition: string; entity: string }>(
      `SELECT v.view, v.version, v.definition, v.entity_definition AS entity FROM registry.view_versions v
       JOIN (SELECT DISTINCT * FROM unnest($1::text[], $2::int[]) AS u(view, version)) w USING (view, version)`,
      [chunks.map((chunk) => chunk.view), chunks.map((chunk) => chunk.version)],
    );
    return new Map(
      rows.map((row) => {
        const table = bareTable(row.view, Number(row.version));
        const definition = parseJson(row.definition) as unknown as ViewDefinition;
        const entity = parseJson(row.entity) as unknown as EntityDefinition;
        const typed = ({ name, type }: { name: string; type: string }): { name: string; type: string } => ({
          name,
          type,
        });
        return [table, { table, keys: entity.keys.map(typed), features: definition.features.map(typed) }];
      }),
    );
  }

  private async toLake(epoch: number, chunks: Waiting[], tables: Map<string, HistoryTable>): Promise<number> {
    const { tmpDir, worker } = this.options;
    const folder = join(tmpDir, `drain-${epoch}-${chunks[0]?.batch ?? 0}`);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    try {
      const files: DrainChunk[] = [];
      for (const chunk of chunks) {
        const file = join(folder, `${chunk.batch}.ndjson.gz`);
        await writeFile(file, await this.bodyOf(chunk.batch), { mode: 0o600 });
        const { batch, columns, rows, clock } = chunk;
        files.push({ batch, columns, rows, clock, file, table: bareTable(chunk.view, chunk.version) });
      }
      const { snapshot } = await worker.call('drain', { epoch, chunks: files, tables: [...tables.values()] });
      return snapshot;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  private async bodyOf(batch: number): Promise<Buffer> {
    const { rows } = await this.options.db.query<{ body: string }>(
      `SELECT encode(body, 'base64') AS body FROM registry.outbox WHERE batch = $1`,
      [batch],
    );
    if (rows[0] === undefined) {
      throw new LoftError(409, 'stale_lease', 'Another gateway has drained the outbox meanwhile.');
    }
    return Buffer.from(rows[0].body, 'base64');
  }

  private async finish(epoch: number, chunks: Waiting[], snapshot: number | null): Promise<void> {
    const { db, lease } = this.options;
    await inTransaction(db, async (client) => {
      if (!(await lease.isOurs(client, epoch))) {
        throw new LoftError(409, 'stale_lease', 'Another gateway has taken over the drain.');
      }
      await client.query(
        `WITH gone AS (
           DELETE FROM registry.outbox WHERE batch = ANY ($1) RETURNING view, version, row_count, newest_event
         )
         INSERT INTO registry.view_state AS s (view, version, rows, newest_event, snapshot)
         SELECT view, version, sum(row_count), max(newest_event), $2::bigint
         FROM gone JOIN registry.view_versions USING (view, version) GROUP BY view, version
         ON CONFLICT (view, version) DO UPDATE SET rows = s.rows + excluded.rows,
           newest_event = greatest(s.newest_event, excluded.newest_event), snapshot = excluded.snapshot`,
        [chunks.map((chunk) => chunk.batch), snapshot],
      );
    });
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
