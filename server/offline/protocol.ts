import type { Column, Inference, Statistics, StoredFile } from '../../contract/api';
import type { Cell } from '../../contract/cells';
import type { Problem } from '../../contract/errors';

/**
 * What the gateway asks of its offline worker, over the forked process's IPC channel: one request, one answer, by id.
 * Rows never travel here, only paths of files in the data folder's `tmp/`; the side that made a file deletes it.
 * Paths are absolute inside a message; `StoredFile.file` is relative to the data root.
 */
export interface WorkerCalls {
  /** Attaches the lake, making it when `create`; else a lake that is not there is 409 `lake_missing`. Answers its identity. */
  open: {
    request: {
      dataDir: string;
      extension: string;
      memoryLimit: string;
      threads: number;
      lake: LakeLocation;
      create: boolean;
      /** Of a lake that is made now. */
      newLakeId: string;
    };
    answer: OpenedLake;
  };
  /** Stores an uploaded file as the next version of a dataset, in one lake transaction with its files' hashes. */
  ingestDataset: {
    request: {
      name: string;
      file: string;
      format: FileFormat;
      mode: 'replace' | 'append';
      /** What the rows of an append come after: the newest recorded version. */
      base: DatasetRef | null;
    };
    answer: StoredDataset;
  };
  describeDataset: {
    request: { ref: DatasetRef; entities: { name: string; keys: string[] }[] };
    /** Statistics by column, and the first rows in the order of the columns. */
    answer: { statistics: [string, CellStatistics][]; preview: Cell[][]; inference: CellInference };
  };
  /** Writes a dataset's rows to `target`, a file that isn't there yet. */
  exportDataset: { request: { ref: DatasetRef; format: FileFormat; target: string }; answer: { rows: number } };
  /**
   * Turns a file or a dataset into canonical cells, one line a row: `[cell, …]` in the order of `columns`, or
   * `{"problems":[…]}` for a row with values that don't fit.
   */
  toCells: {
    request: {
      source: { file: string; format: FileFormat } | DatasetRef;
      columns: SourceColumn[];
      target: string;
    };
    answer: { rows: number };
  };
  /** Adds outbox chunks to history: chunk ids, epoch and hashes in the same lake transaction. Known chunks are skipped. */
  drain: {
    request: { epoch: number; chunks: DrainChunk[]; tables: HistoryTable[] };
    answer: { added: number[]; rows: number; snapshot: number };
  };
  buildTrainingSet: { request: TrainingSetBuild; answer: BuiltTrainingSet };
  /** Columns of an uploaded file, as an ingest would type them. */
  fileColumns: { request: { file: string; format: FileFormat }; answer: { columns: Column[] } };
  exportParquet: { request: { file: string; columns: Column[]; format: FileFormat; target: string }; answer: Done };
  /** Re-hashes every data file that the lake names. */
  verifyLake: { request: { incremental: boolean }; answer: { checked: number; bytes: number; bad: BadFile[] } };
  close: { request: Record<string, never>; answer: Done };
}

export type Done = Record<string, never>;
export type FileFormat = 'csv' | 'ndjson' | 'parquet';

export interface LakeLocation {
  /** A DuckDB file of this data folder, or (later) a Postgres URL. */
  catalog: string;
  /** Where Parquet files go: a folder, `s3://` or `gs://`. */
  dataPath: string;
}

export interface OpenedLake {
  lakeId: string;
  /** Holds no row and no drained chunk: may be taken over by a store that has no lake yet. */
  unused: boolean;
  engine: string;
}

/** A dataset's rows as they were at a snapshot of the lake. */
export interface DatasetRef {
  dataset: string;
  snapshot: number;
  columns: Column[];
}

/** Statistics and Inference of contract/api.ts with cells for values; the gateway makes JSON of them. */
export interface CellStatistics extends Omit<Statistics, 'min' | 'max' | 'top' | 'computedAt' | 'snapshot'> {
  min?: Cell;
  max?: Cell;
  top?: { value: Cell; count: number }[];
}
export interface CellInference extends Omit<Inference, 'columns'> {
  columns: { name: string; type: string; samples: Cell[]; reason: string }[];
}
export type Chosen = Inference['keys'];

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

/** One outbox chunk, its gzip NDJSON written to `file`: a line is an array of cells in the order of `columns`. */
export interface DrainChunk {
  batch: number;
  table: string;
  columns: string[];
  rows: number;
  /** A timestamp cell: stands in for a `created_timestamp` that the writer left to the database's clock. */
  clock: string;
  file: string;
}

export interface HistoryTable {
  table: string;
  keys: Column[];
  features: Column[];
}

export type Spine = DatasetRef | { file: string; columns: Column[] };

export interface TrainingSetBuild {
  /** The Parquet file to write; made as a temporary one beside it and renamed. */
  target: string;
  spine: Spine;
  /** Types that the spine's columns take: keys those of their entities, the event time timestamp. */
  spineTypes: Column[];
  eventTimestamp: string;
  /** In the order asked; `column` is the name in the result. */
  features: { view: number; feature: string; type: string; column: string }[];
  /** What `features[].view` counts into. */
  views: { name: string; version: number; table: string; keys: Column[]; ttlSeconds: number | undefined }[];
  asKnownAt: boolean;
}

export interface BuiltTrainingSet {
  rows: number;
  columns: Column[];
  spineHash: string;
  contentHash: string;
  sha256: string;
  bytes: number;
  snapshot: number;
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

export interface WorkerFailure {
  status: number;
  code: string;
  detail: string;
  problems?: Problem[];
}

/** `residentBytes`: the worker's memory after the work, by which it is recycled. */
export type WorkerAnswer =
  | { id: number; ok: true; answer: unknown; residentBytes: number }
  | { id: number; ok: false; error: WorkerFailure; residentBytes: number };
