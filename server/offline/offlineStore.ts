import type { Readable } from 'node:stream';
import type {
  DatasetInfo,
  DatasetVersion,
  TrainingSetInfo,
  TrainingSetPlan,
  TrainingSetRequest,
  VerifyAnswer,
} from '../../contract/api';
import type { FileFormat, SourceColumn } from './protocol';

/** A page of a list, newest or by name; `cursor` is the one before's `nextCursor`. */
export interface PageRequest {
  cursor?: string | undefined;
  limit: number;
}
export interface PageOf<Item> {
  items: Item[];
  nextCursor?: string;
}

/** A finished file that can be streamed; call `release` when it was, also after a failure (it removes temporary ones). */
export interface ReadyFile {
  path: string;
  bytes: number;
  format: FileFormat;
  release(): Promise<void>;
}

/**
 * Canonical cells as NDJSON, one line a row in the file's order. A good row is `[cell, …]` in the order of the columns asked for;
 * a row with values that don't fit is `{"problems":[{field, code, found, expected}]}` in its place.
 */
export interface ReadyCells {
  path: string;
  rows: number;
  release(): Promise<void>;
}

export type OfflineState =
  | { state: 'ok'; lake: string; drainedBy: string | null }
  | { state: 'away' | 'lake_elsewhere'; lake: string; detail: string; drainedBy: string | null };

/** What the routes ask of the offline side. Every method refuses with LoftError; 409 `lake_elsewhere` when this gateway can't open the store's lake. */
export interface OfflineStore {
  /** Opens the lake (in the background: the online routes don't wait for it) and begins to drain. */
  start(): Promise<void>;
  stop(): Promise<void>;
  status(): OfflineState;
  /** Rings the bell after a push: the drain looks at the outbox at once instead of at its next poll. */
  wakeDrain(): void;
  /** Waits until every row answered before this call is in the lake; 503 `outbox_behind` after 30 s. */
  drainAnswered(): Promise<void>;

  uploadDataset(
    name: string,
    body: Readable,
    options: { mode: 'replace' | 'append'; format: FileFormat },
  ): Promise<DatasetVersion>;
  datasets(page: PageRequest): Promise<PageOf<DatasetVersion>>;
  dataset(name: string, version?: number): Promise<DatasetInfo>;
  exportDataset(name: string, version: number | undefined, format: FileFormat): Promise<ReadyFile>;
  /** For `rows {dataset}`. */
  datasetCells(name: string, version: number | undefined, columns: SourceColumn[]): Promise<ReadyCells>;
  /** For a Parquet body of `rows`: spools the body into `tmp/` first. */
  bodyCells(body: Readable, format: FileFormat, columns: SourceColumn[]): Promise<ReadyCells>;
  /** Names and types of a Parquet body's or a dataset's columns, as guessed. */
  datasetVersion(name: string, version?: number): Promise<DatasetVersion>;

  createTrainingSet(request: TrainingSetRequest): Promise<TrainingSetInfo | TrainingSetPlan>;
  trainingSets(page: PageRequest): Promise<PageOf<TrainingSetInfo>>;
  trainingSet(name: string, version?: number): Promise<TrainingSetInfo>;
  /** Parquet: the stored file's own bytes. */
  trainingSetFile(name: string, version: number | undefined, format: FileFormat): Promise<ReadyFile>;

  verify(mode: 'full' | 'incremental'): Promise<VerifyAnswer>;
}
