import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { z } from 'zod';
import type {
  Column,
  DatasetInfo,
  DatasetVersion,
  TrainingSetInfo,
  TrainingSetPlan,
  TrainingSetRequest,
  VerifyAnswer,
} from '../../contract/api';
import { LoftError } from '../../contract/errors';
import type { DataFolder } from '../dataFolder';
import { fileError } from '../fileErrors';
import type { Log } from '../log';
import { timestampCell } from '../postgres/columnTypes';
import type { Db } from '../postgres/connect';
import type { RegistryCache } from '../registry/cache';
import {
  checkDatasetName,
  datasetVersions,
  describedJson,
  findDataset,
  listDatasets,
  newestDataset,
  recordDataset,
  refOf,
} from './datasets';
import { Drain } from './drain';
import { DrainLease } from './drainLease';
import { awaitedExtension, findExtension } from './extensions';
import { HashedFiles } from './hashedFiles';
import { LakeAccess } from './lakeAccess';
import type { PageOf, PageRequest } from './page';

import type { FileFormat, LakeLocation, SourceColumn, WorkerCalls } from './protocol';
import { findTrainingSet, listTrainingSets } from './trainingSetRecords';
import { createTrainingSet } from './trainingSets';
import { verifyFiles } from './verify';
import { WorkerProcess } from './workerProcess';

export interface OfflineOptions {
  db: Db;
  registry: RegistryCache;
  folder: Pick<DataFolder, 'dir' | 'lakeDir' | 'trainingDir' | 'tmpDir'>;
  /** Path of DuckDB's ducklake extension (extensions.ts). */
  extension: string;
  /** The worker's entry: dist/worker.js, or its TypeScript source with `execArgv` such as `['--import', 'tsx']`. */
  worker: { script: string; execArgv?: readonly string[] };
  /** Who drains, as others are told: unique to this gateway. */
  gateway: string;
  /** Where this gateway is reached, once it listens. */
  url?: () => string | null;
  log: Log;
  /** Of DuckDB, such as `2GB` (the default). */
  memoryLimit?: string;
  threads?: number;
  /** How long a chunk of the outbox that can't be drained is left aside; by default a minute. */
  parkedMs?: number;
}

export type { PageOf, PageRequest } from './page';

type Body = Readable | AsyncIterable<Uint8Array>;

/** A finished file that can be streamed; call `release` when it was, also after a failure (it removes a temporary one). */
export interface ReadyFile {
  path: string;
  bytes: number;
  format: FileFormat;
  release(): Promise<void>;
}

/** Rows that the worker can read: of a body that was spooled to `tmp/`, or of a dataset. Call `release` at the end. */
export interface RowsToRead {
  /** All there are, with the types that an upload would give them. */
  columns: Column[];
  /**
   * Canonical cells of the columns asked for, as NDJSON, one line a row in the rows' order: `[cell, …]` in the order asked, or
   * `{"problems":[{field, code, found, expected}]}` for a row with values that don't fit. Removed by `release`.
   */
  cells(columns: readonly SourceColumn[]): Promise<{ path: string; rows: number }>;
  release(): Promise<void>;
}

export interface OfflineStatus {
  state: 'ok' | 'away' | 'lake_elsewhere';
  detail?: string;
  /** Where the catalog is. */
  lake: string;
  /** Whether this gateway holds the drain lease. */
  drains: boolean;
  /** How often the worker was started. */
  workerStarts: number;
}

/** What a gateway opens: the worker of this build, and the extension where packaging or set-up put it. */
export function openOfflineStore(parts: {
  db: Db;
  registry: RegistryCache;
  folder: DataFolder;
  log: Log;
  name: string;
  url?: () => string | null;
}): OfflineStore {
  const { name, ...rest } = parts;
  const memoryLimit = process.env['FEATURELOFT_WORKER_MEMORY'];
  return new OfflineStore({
    ...rest,
    gateway: name,
    extension: ducklake(parts.log),
    worker: builtWorker(),
    ...(memoryLimit === undefined ? {} : { memoryLimit }),
  });
}

/**
 * Without it the lake can't be opened, and the offline routes say so; the rest of the gateway serves. Where it is put later,
 * the next try to open the lake finds it.
 */
function ducklake(log: Log): string {
  try {
    return findExtension('ducklake');
  } catch (error) {
    log.error('no ducklake', error);
    return awaitedExtension('ducklake');
  }
}

/** Beside the bundled gateway, or from the sources. */
function builtWorker(): OfflineOptions['worker'] {
  return __filename.endsWith('.ts')
    ? { script: join(__dirname, 'worker', 'main.ts'), execArgv: ['--import', 'tsx'] }
    : { script: join(__dirname, 'worker.js'), execArgv: [] };
}

const DEFAULT_MEMORY = '2GB';
const DEFAULT_THREADS = 2;
const REMEMBERED_DESCRIPTIONS = 50;

/**
 * The offline side of a gateway: datasets, history, training sets, checks. Every method refuses with LoftError; 409 `lake_elsewhere`
 * when this gateway can't open the store's lake, 503 `offline_worker_died` when the worker died at it.
 */
export class OfflineStore {
  private readonly worker: WorkerProcess;
  private readonly access: LakeAccess;
  private readonly lease: DrainLease;
  private readonly drain: Drain;
  private readonly location: LakeLocation;
  private readonly hashed = new HashedFiles();
  private readonly descriptions = new Map<string, DatasetInfo>();
  /** Uploads and training sets are recorded in the order in which they were stored. */
  private storing: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: OfflineOptions) {
    const { db, folder, log } = options;
    this.location = { catalog: join(folder.lakeDir, 'catalog.ducklake'), dataPath: join(folder.lakeDir, 'data') };
    this.worker = new WorkerProcess({
      ...options.worker,
      log,
      open: {
        dataDir: folder.dir,
        extension: options.extension,
        memoryLimit: options.memoryLimit ?? DEFAULT_MEMORY,
        threads: options.threads ?? DEFAULT_THREADS,
        lake: this.location,
        create: false,
        newLakeId: '',
      },
    });
    this.access = new LakeAccess(db, this.worker, this.location);
    this.lease = new DrainLease(db, options.gateway, options.url ?? (() => null), () => {
      log.info('drain lease lost');
      void this.worker.kill('the right to write to the lake ran out');
    });
    this.drain = new Drain({
      db,
      worker: this.worker,
      access: this.access,
      lease: this.lease,
      tmpDir: folder.tmpDir,
      log,
      parkedMs: options.parkedMs,
    });
  }

  /** Opens the lake and begins to drain, in the background: the online side does not wait for it. */
  start(): Promise<void> {
    this.drain.start();
    return Promise.resolve();
  }

  /** Ends the drain after its current batch, gives the lease back and ends the worker. */
  async stop(): Promise<void> {
    await this.drain.stop();
    await this.lease.release().catch(() => undefined); // Postgres away: it expires by itself
    await this.worker.close();
  }

  status(): OfflineStatus {
    const { state } = this.access;
    const common = {
      lake: this.location.catalog,
      drains: this.lease.epoch !== undefined,
      workerStarts: this.worker.starts,
    };
    if (state.state === 'ok') return { state: 'ok', ...common };
    return { state: state.state === 'lake_elsewhere' ? 'lake_elsewhere' : 'away', detail: state.detail, ...common };
  }

  /** Of the running worker, for tests and for measuring. */
  get workerPid(): number | undefined {
    return this.worker.pid;
  }

  /** Rings after a push: the drain looks at the outbox at once and not at its next poll. */
  wakeDrain(): void {
    this.drain.wake();
  }

  /** Waits until every row answered before this call is in the lake; 503 `outbox_behind` after 30 s. */
  async drainAnswered(): Promise<void> {
    await this.requireLake();
    await this.drain.answered();
  }

  /** Throws 409 `lake_elsewhere`, or 503 when the lake can't be opened now. */
  requireLake(): Promise<void> {
    return this.access.requireLake();
  }

  // --- datasets

  /** Stores a body as the dataset's next version. Throws 422 with every problem and its place, 409, 503. */
  async uploadDataset(
    name: string,
    body: Body,
    options: { mode: 'replace' | 'append'; format: FileFormat },
  ): Promise<DatasetVersion> {
    checkDatasetName(name);
    await this.requireLake();
    const file = await this.spool(body);
    try {
      return await this.inOrder(async () => {
        await this.requireLease();
        const newest = options.mode === 'append' ? await newestDataset(this.options.db, name) : undefined;
        const stored = await this.worker.call('ingestDataset', {
          name,
          file,
          ...options,
          base: newest ? refOf(newest) : null,
        });
        return recordDataset(this.options.db, name, options.mode, stored);
      });
    } finally {
      await this.remove(file);
    }
  }

  datasets(page: PageRequest): Promise<PageOf<DatasetVersion>> {
    return listDatasets(this.options.db, page);
  }

  /** A version with its statistics, first rows, and guesses at keys and times. Needs the lake; `datasetVersion` does not. */
  async dataset(name: string, version?: number): Promise<DatasetInfo> {
    const dataset = await findDataset(this.options.db, name, version);
    await this.drainAnswered();
    const registry = await this.options.registry.reload();
    const key = `${name}@${dataset.version}@${registry.registryVersion}`;
    const known = this.descriptions.get(key);
    const versions = await datasetVersions(this.options.db, name);
    if (known) return { ...known, versions };
    const entities = [...registry.entities.values()].map((entity) => ({
      name: entity.name,
      keys: entity.keys.map((each) => each.name),
    }));
    const described = await this.worker.call('describeDataset', { ref: refOf(dataset), entities });
    const info = { ...dataset, versions, ...describedJson(dataset, described, await this.now()) };
    this.descriptions.set(key, info);
    const [oldest] = this.descriptions.keys();
    if (this.descriptions.size > REMEMBERED_DESCRIPTIONS && oldest !== undefined) this.descriptions.delete(oldest);
    return info;
  }

  datasetVersion(name: string, version?: number): Promise<DatasetVersion> {
    return findDataset(this.options.db, name, version);
  }

  async exportDataset(name: string, version: number | undefined, format: FileFormat): Promise<ReadyFile> {
    const dataset = await findDataset(this.options.db, name, version);
    await this.drainAnswered();
    const target = this.temporary(format);
    return this.ready(target, format, () => this.worker.call('exportDataset', { ref: refOf(dataset), format, target }));
  }

  /** For `rows {dataset}`. */
  async datasetRows(name: string, version?: number): Promise<RowsToRead> {
    const dataset = await findDataset(this.options.db, name, version);
    await this.requireLake();
    return this.rowsToRead(dataset.columns, refOf(dataset), []);
  }

  /** For a body of `rows`, Parquet above all: spooled to `tmp/` first. */
  async bodyRows(body: Body, format: FileFormat): Promise<RowsToRead> {
    await this.requireLake();
    const file = await this.spool(body);
    try {
      const { columns } = await this.worker.call('fileColumns', { file, format });
      return this.rowsToRead(columns, { file, format }, [file]);
    } catch (error) {
      await this.remove(file);
      throw error;
    }
  }

  // --- training sets

  async createTrainingSet(request: TrainingSetRequest): Promise<TrainingSetInfo | z.infer<typeof TrainingSetPlan>> {
    const { db, registry, folder } = this.options;
    await this.requireLake();
    return createTrainingSet(
      {
        db,
        registry,
        tmpDir: folder.tmpDir,
        trainingDir: folder.trainingDir,
        engine: this.access.engine,
        build: (build) => this.worker.call('buildTrainingSet', build),
        drainAnswered: () => this.drain.answered(),
        inOrder: (work) => this.inOrder(work),
      },
      request,
    );
  }

  trainingSets(page: PageRequest): Promise<PageOf<TrainingSetInfo>> {
    return listTrainingSets(this.options.db, page);
  }

  trainingSet(name: string, version?: number): Promise<TrainingSetInfo> {
    return findTrainingSet(this.options.db, name, version);
  }

  /** As Parquet the stored file's own bytes; else made for this call. */
  async trainingSetFile(name: string, version: number | undefined, format: FileFormat): Promise<ReadyFile> {
    const set = await findTrainingSet(this.options.db, name, version);
    const file = join(this.options.folder.dir, set.files[0]?.file ?? '');
    const found = await stat(file).catch(() => undefined);
    if (!found?.isFile()) {
      throw new LoftError(
        409,
        'training_set_elsewhere',
        `The file of training set ${name} (version ${set.version}) is not in this gateway's data folder (${set.files[0]?.file}). Ask the gateway that has the lake; verify says whether it was lost.`,
      );
    }
    if (format === 'parquet') return { path: file, bytes: found.size, format, release: () => Promise.resolve() };
    await this.requireLake();
    const target = this.temporary(format);
    return this.ready(target, format, () =>
      this.worker.call('exportParquet', { file, columns: set.columns, format, target }),
    );
  }

  // --- checks

  /** Drains, then re-hashes every stored byte; `incremental` skips files that were good and have not been touched since. */
  async verify(mode: 'full' | 'incremental'): Promise<VerifyAnswer> {
    await this.drainAnswered();
    const incremental = mode === 'incremental';
    const lake = await this.worker.call('verifyLake', { incremental });
    return verifyFiles(this.options.db, this.options.folder.dir, lake, this.hashed, incremental);
  }

  // --- files of tmp/

  private async spool(body: Body): Promise<string> {
    const file = this.temporary('upload');
    try {
      await pipeline(body, createWriteStream(file, { flags: 'wx', mode: 0o600 }));
      return file;
    } catch (error) {
      await this.remove(file).catch(() => undefined);
      throw fileError(error, this.options.folder.tmpDir);
    }
  }

  private temporary(suffix: string): string {
    return join(this.options.folder.tmpDir, `${randomUUID()}.${suffix}`);
  }

  /** `.cells`: what the worker makes of NDJSON. */
  private async remove(file: string): Promise<void> {
    await rm(file, { force: true });
    await rm(`${file}.cells`, { force: true });
  }

  private async ready(path: string, format: FileFormat, make: () => Promise<unknown>): Promise<ReadyFile> {
    try {
      await make();
      const { size } = await stat(path);
      return { path, bytes: size, format, release: () => this.remove(path) };
    } catch (error) {
      await this.remove(path);
      throw error;
    }
  }

  private rowsToRead(
    columns: Column[],
    source: WorkerCalls['toCells']['request']['source'],
    files: string[],
  ): RowsToRead {
    return {
      columns,
      cells: async (wanted) => {
        const target = this.temporary('cells');
        files.push(target);
        const { rows } = await this.worker.call('toCells', { source, columns: [...wanted], target });
        return { path: target, rows };
      },
      release: async () => {
        for (const file of files) await this.remove(file);
      },
    };
  }

  private async requireLease(): Promise<void> {
    if ((await this.lease.take(true)) !== undefined) return;
    const { holder } = await this.lease.who();
    throw new LoftError(503, 'lake_busy', `Gateway ${holder} writes to the lake now. Try again shortly.`, {
      retryAfterSeconds: 5,
    });
  }

  private async inOrder<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = this.storing.then(work);
    this.storing = turn.catch(() => undefined);
    return turn;
  }

  private async now(): Promise<string> {
    const { rows } = await this.options.db.query<{ now: string }>('SELECT clock_timestamp() AS now');
    return timestampCell(rows[0]?.now ?? '');
  }
}
