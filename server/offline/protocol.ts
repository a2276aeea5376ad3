import type { Column, Inference, Statistics, StoredFile } from '../../contract/api';
import type { Cell } from '../../contract/cells';
import type { Problem } from '../../contract/errors';

/**
 * What the gateway asks of its offline worker, over the forked process's IPC channel: one request, one answer, by id.
 * Rows never travel here, only paths of files in the data folder's `tmp/`; the side that made a file deletes it.
 * Paths are absolute inside a message; `StoredFile.file` is relative to the data root.
 */
export interface WorkerCalls {
  /** Attaches the lake, creating it when `create`. Answers its identity. */
  open: {
    request: { dataDir: string; extension: string; memoryLimit: string; threads: number; lake: LakeLocation };
    answer: { lakeId: string; engine: string };
  };
  /** Reads a file's columns, guesses types, keys and times. */
  infer: { request: { file: string; format: FileFormat }; answer: Inference };
  /** Stores an uploaded file as the next version of a dataset, in one lake transaction with its files' hashes. */
  ingestDataset: {
    request: { name: string; file: string; format: FileFormat; mode: 'replace' | 'append' };
    answer: StoredDataset;
  };
  describeDataset: {
    request: { name: string; snapshot: number };
    answer: { statistics: Record<string, Statistics>; preview: Record<string, Cell>[]; inference: Inference };
  };
  /** Writes a dataset's rows to a file of the given format in `tmp/`. */
  exportDataset: {
    request: { name: string; snapshot: number; format: FileFormat };
    answer: { file: string; rows: number };
  };
  /** Turns any file or dataset into canonical cells: NDJSON of `[cell, …]` in the order of `columns`, one line a row. */
  toCells: {
    request: {
      source: { file: string; format: FileFormat } | { dataset: string; snapshot: number };
      columns: SourceColumn[];
    };
    answer: { file: string; rows: number };
  };
  /** Adds outbox chunks to history: chunk ids, epoch and hashes in the same lake transaction. Known chunks are skipped. */
  drain: {
    request: { epoch: number; chunks: DrainChunk[] };
    answer: { added: number[]; rows: number; snapshot: number };
  };
  buildTrainingSet: { request: TrainingSetBuild; answer: BuiltTrainingSet };
  exportTrainingSet: { request: { file: string; format: FileFormat }; answer: { file: string } };
  /** Re-hashes every file that the lake names. Training sets are hashed by the gateway's verify through `hashFiles`. */
  verifyLake: { request: { incremental: boolean }; answer: { checked: number; bytes: number; bad: BadFile[] } };
  close: { request: Record<string, never>; answer: Record<string, never> };
}

export type FileFormat = 'csv' | 'ndjson' | 'parquet';

export interface LakeLocation {
  /** A DuckDB file of this data folder, or (later) a Postgres URL. */
  catalog: string;
  /** Where Parquet files go: a folder, `s3://` or `gs://`. */
  dataPath: string;
}

export interface StoredDataset {
  rows: number;
  /** Content hash of the rows in order (docs/semantics.md). */
  sha256: string;
  files: StoredFile[];
  snapshot: number;
  columns: Column[];
}

/** One column wanted from a file: its name there, and the type whose canonical text is wanted. */
export interface SourceColumn {
  name: string;
  type: string;
  /** For times without a zone. */
  timezone?: string | undefined;
}

/** One outbox chunk, its gzip NDJSON written to `file`. */
export interface DrainChunk {
  batch: number;
  table: string;
  keys: Column[];
  features: Column[];
  rows: number;
  /** Stands in for a `created_timestamp` that the writer left to the database's clock. */
  clock: string;
  file: string;
}

export interface TrainingSetBuild {
  name: string;
  version: number;
  /** Absolute folder that the Parquet file is written to. */
  directory: string;
  spine: { dataset: string; snapshot: number } | { file: string; format: FileFormat; columns: Column[] };
  eventTimestamp: string;
  /** In the order asked; `column` is the name in the result. */
  features: { view: string; version: number; feature: string; type: string; column: string }[];
  views: { view: string; version: number; table: string; keys: Column[]; ttlSeconds: number | undefined }[];
  asKnownAt: boolean;
}

export interface BuiltTrainingSet {
  rows: number;
  columns: Column[];
  spineHash: string;
  contentHash: string;
  files: StoredFile[];
  snapshot: number | null;
  warnings: string[];
}

export interface BadFile {
  file: string;
  table: string;
  snapshot: number | null;
  problem: 'changed' | 'missing' | 'unrecorded';
}

export type WorkerOperation = keyof WorkerCalls;
export interface WorkerRequest<Operation extends WorkerOperation = WorkerOperation> {
  id: number;
  operation: Operation;
  request: WorkerCalls[Operation]['request'];
}
export type WorkerAnswer =
  | { id: number; ok: true; answer: unknown }
  | { id: number; ok: false; error: { status: number; code: string; detail: string; problems?: Problem[] } };
