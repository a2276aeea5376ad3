import { gunzipSync } from 'node:zlib';
import { Readable } from 'node:stream';
import type { OnlineAnswer, WriteAnswer } from '../../../contract/api';
import type { Cell } from '../../../contract/cells';
import { LoftError } from '../../../contract/errors';
import { readJsonRows } from '../../../server/online/decode/jsonRows';
import { ndjsonRows } from '../../../server/online/decode/ndjsonRows';
import type { RowSource } from '../../../server/online/decode/rowSource';
import { readOnline, type ReadContext } from '../../../server/online/read';
import type { ReadRequest } from '../../../server/online/readPlan';
import { openReadPool } from '../../../server/online/readPool';
import { writeRows, type WriteContext, type WriteRequest } from '../../../server/online/write';
import { RegistryCache } from '../../../server/registry/cache';
import { publish } from '../../../server/registry/publish';
import { freshDatabase, type TestDatabase } from './postgres';

/** One gateway's online side on a database of its own, without HTTP around it. */
export interface OnlineStore extends WriteContext, ReadContext {
  database: TestDatabase;
  /** Publishes as another gateway would: this one's cache is not told. */
  publish(definitions: unknown): Promise<void>;
  push(view: string, rows: RowSource, options?: Partial<WriteRequest>): Promise<WriteAnswer>;
  get(features: string[], entities: Record<string, unknown[]>): Promise<OnlineAnswer['columns']>;
  /** The raw answer. */
  read(request: ReadRequest): Promise<string>;
  /** The outbox's rows, each chunk's lines as objects by column, in the order of their batch numbers. */
  outbox(): Promise<Chunk[]>;
  drop(): Promise<void>;
}

export interface Chunk {
  batch: number;
  view: string;
  version: number;
  rowCount: number;
  newestEvent: string;
  clock: string;
  bytes: number;
  lines: Record<string, Cell>[];
}

export async function onlineStore(): Promise<OnlineStore> {
  const database = await freshDatabase();
  const { db, connection } = database;
  const reads = openReadPool(connection, { max: 4 });
  const registry = new RegistryCache(db);
  await registry.reload();
  const context = { db, reads, registry, gateway: 'test' };
  const read = (request: ReadRequest): Promise<string> => readOnline(context, request);
  return {
    ...context,
    database,
    publish: async (definitions) => {
      await publish(db, { definitions }, 'test');
    },
    push: (view, rows, options) => writeRows(context, { view, rows, onError: 'reject', ...options }),
    read,
    get: async (features, entities) => (JSON.parse(await read({ features, entities })) as OnlineAnswer).columns,
    outbox: async () => {
      const { rows } = await db.query<Record<string, string>>('SELECT * FROM registry.outbox ORDER BY batch');
      return rows.map(readChunk);
    },
    drop: async () => {
      await reads.end();
      await database.drop();
    },
  };
}

function readChunk(row: Record<string, string>): Chunk {
  const columns = JSON.parse(row['columns'] ?? '') as string[];
  const body = Buffer.from((row['body'] ?? '').slice(2), 'hex');
  const lines = gunzipSync(body).toString().trimEnd().split('\n');
  return {
    batch: Number(row['batch']),
    view: row['view'] ?? '',
    version: Number(row['version']),
    rowCount: Number(row['row_count']),
    newestEvent: row['newest_event'] ?? '',
    clock: row['clock'] ?? '',
    bytes: body.length,
    lines: lines.map((line) => {
      const cells = JSON.parse(line) as Cell[];
      return Object.fromEntries(columns.map((column, index) => [column, cells[index] ?? null]));
    }),
  };
}

/** Rows of a JSON body. The text, so that a test can say -0.0 or an integer beyond 2^53. */
export function jsonRows(rows: string | readonly unknown[]): RowSource {
  const body = readJsonRows(`{"rows": ${typeof rows === 'string' ? rows : JSON.stringify(rows)}}`);
  if (body.kind !== 'rows') throw new Error('no rows');
  return body.source;
}

export function ndjsonRowsOf(rows: Iterable<string>): RowSource {
  return ndjsonRows(() => Readable.from(asBuffers(rows)));
}

function* asBuffers(rows: Iterable<string>): Generator<Buffer, void> {
  for (const row of rows) yield Buffer.from(`${row}\n`);
}

export async function refusalOf(work: Promise<unknown>): Promise<LoftError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof LoftError) return error;
    throw error;
  }
  throw new Error('expected a refusal');
}
