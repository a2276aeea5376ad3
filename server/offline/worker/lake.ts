import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  DuckDBInstance,
  type DuckDBConnection,
  type DuckDBDataChunk,
  type DuckDBValue,
  version,
} from '@duckdb/node-api';
import { LoftError } from '../../../contract/errors';
import { quoteName } from '../../postgres/identifiers';
import type { LakeLocation, OpenedLake, WorkerCalls } from '../protocol';

/** How many reads run at once; each may sort and spill. */
const MOST_READS = 2;

/** A text as an SQL literal, for the few places where DuckDB takes no parameter: paths of table functions and COPY. */
export function quoteText(text: string): string {
  if (text.includes('\0')) throw new Error('a text in SQL holds no NUL');
  return `'${text.replaceAll("'", "''")}'`;
}

export function lakeTable(schema: 'main' | 'datasets' | 'loft', table: string): string {
  return `lake.${schema}.${quoteName(table)}`;
}

/** One connection to the worker's DuckDB. */
export class Session {
  constructor(private readonly connection: DuckDBConnection) {}

  async run(sql: string, parameters: DuckDBValue[] = []): Promise<void> {
    await this.connection.run(sql, parameters);
  }

  /** All rows at once: for answers known to be few. int64 comes as bigint. */
  async rows(sql: string, parameters: DuckDBValue[] = []): Promise<Record<string, DuckDBValue>[]> {
    const reader = await this.connection.runAndReadAll(sql, parameters);
    return reader.getRowObjects();
  }

  async row(sql: string, parameters: DuckDBValue[] = []): Promise<Record<string, DuckDBValue>> {
    const [row] = await this.rows(sql, parameters);
    if (!row) throw new Error('a row was expected');
    return row;
  }

  /** A bigint or number of one row and one column. */
  async count(sql: string, parameters: DuckDBValue[] = []): Promise<number> {
    return Number(Object.values(await this.row(sql, parameters))[0]);
  }

  /** Chunks of at most 2,048 rows, as they are made. */
  async *chunks(sql: string, parameters: DuckDBValue[] = []): AsyncGenerator<DuckDBDataChunk> {
    const result = await this.connection.stream(sql, parameters);
    for (;;) {
      const chunk = await result.fetchChunk();
      if (!chunk || chunk.rowCount === 0) return;
      yield chunk;
    }
  }

  async columnNames(sql: string): Promise<string[]> {
    const rows = await this.rows(`DESCRIBE ${sql}`);
    return rows.map((row) => String(row['column_name']));
  }

  close(): void {
    this.connection.closeSync();
  }
}

/** The lake of one data folder, opened by this process alone, and the one DuckDB instance that works it. */
export class Lake {
  private lane: Promise<unknown> = Promise.resolve();
  private reads = 0;
  private readonly waiting: (() => void)[] = [];

  private constructor(
    private readonly instance: DuckDBInstance,
    readonly dataDir: string,
    readonly location: LakeLocation,
    readonly identity: OpenedLake,
  ) {}

  static async open(request: WorkerCalls['open']['request']): Promise<Lake> {
    const { dataDir, lake, create } = request;
    if (!create && !existsSync(lake.catalog)) {
      throw new LoftError(409, 'lake_missing', `There is no lake at ${lake.catalog}.`);
    }
    if (!existsSync(request.extension)) {
      throw new LoftError(
        503,
        'extension_missing',
        `DuckDB's extension ducklake is not at ${request.extension}. In a checkout, \`npm run setup\` fetches it (\`npm start\` does so too); ` +
          'elsewhere, start the gateway with FEATURELOFT_EXTENSIONS set to the folder that holds it.',
      );
    }
    const spill = join(dataDir, 'tmp', 'spill');
    await mkdir(spill, { recursive: true });
    await mkdir(dirname(lake.catalog), { recursive: true });
    const instance = await DuckDBInstance.create(':memory:', {
      threads: String(request.threads),
      memory_limit: request.memoryLimit,
      temp_directory: spill,
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
    });
    const session = new Session(await instance.connect());
    try {
      await session.run(`LOAD ${quoteText(request.extension)}`);
      await session.run(`SET GLOBAL TimeZone = 'UTC'`);
      // The path is given at each opening, so that a data folder can be moved.
      await session.run(
        `ATTACH ${quoteText(`ducklake:${lake.catalog}`)} AS lake ` +
          `(DATA_PATH ${quoteText(lake.dataPath)}, OVERRIDE_DATA_PATH true, DATA_INLINING_ROW_LIMIT 0)`,
      );
      const identity = await bookkeeping(session, request.newLakeId);
      return new Lake(instance, dataDir, lake, { ...identity, engine: `DuckDB ${version()}` });
    } finally {
      session.close();
    }
  }

  /** Work that changes nothing in the lake; at most two at once. */
  async read<Result>(work: (session: Session) => Promise<Result>): Promise<Result> {
    if (this.reads >= MOST_READS) await new Promise<void>((go) => this.waiting.push(go));
    this.reads++;
    const session = new Session(await this.instance.connect());
    try {
      return await work(session);
    } finally {
      session.close();
      this.reads--;
      this.waiting.shift()?.();
    }
  }

  /**
   * One lake transaction at a time. Answers what `work` did and the snapshot that its commit made. `work` answering undefined
   * means that nothing was changed: it is rolled back.
   */
  write<Result extends object>(
    work: (session: Session) => Promise<Result | undefined>,
  ): Promise<(Result & { snapshot: number }) | undefined> {
    const turn = this.lane.then(() => this.writeNow(work));
    this.lane = turn.catch(() => undefined);
    return turn;
  }

  /** Work while no transaction of ours is under way, so that the files on disk are those of the last commit. */
  betweenWrites<Result>(work: (session: Session) => Promise<Result>): Promise<Result> {
    const turn = this.lane.then(() => this.read(work));
    this.lane = turn.catch(() => undefined);
    return turn;
  }

  private async writeNow<Result extends object>(
    work: (session: Session) => Promise<Result | undefined>,
  ): Promise<(Result & { snapshot: number }) | undefined> {
    const session = new Session(await this.instance.connect());
    try {
      const before = await currentSnapshot(session);
      await session.run('BEGIN');
      let result: Result | undefined;
      try {
        result = await work(session);
        await session.run(result === undefined ? 'ROLLBACK' : 'COMMIT');
      } catch (error) {
        await session.run('ROLLBACK').catch(() => undefined);
        throw error;
      }
      if (result === undefined) return undefined;
      // DuckDB answers COMMIT of an aborted transaction without an error: only a new snapshot proves it.
      const snapshot = await currentSnapshot(session);
      if (snapshot <= before) throw new Error('the commit made no snapshot');
      return { ...result, snapshot };
    } finally {
      session.close();
    }
  }

  async close(): Promise<void> {
    await this.lane;
    this.instance.closeSync();
  }
}

export async function currentSnapshot(session: Session): Promise<number> {
  return session.count('SELECT id FROM lake.current_snapshot()');
}

/**
 * The three small tables of ours, whose rows stand in the catalog itself: SHA-256 of each data file, ids of the outbox chunks
 * that are in, and the lake's id with the epoch of its last writer.
 */
async function bookkeeping(session: Session, newLakeId: string): Promise<Omit<OpenedLake, 'engine'>> {
  for (const schema of ['datasets', 'loft']) await session.run(`CREATE SCHEMA IF NOT EXISTS lake.${schema}`);
  // Before the tables, so that no row of theirs is ever a file.
  await session.run(`CALL lake.set_option('data_inlining_row_limit', 1000000, schema => 'loft')`);
  await session.run('BEGIN');
  await session.run('CREATE TABLE IF NOT EXISTS lake.loft.file_hashes (file VARCHAR, sha256 VARCHAR, bytes BIGINT)');
  await session.run('CREATE TABLE IF NOT EXISTS lake.loft.drained_chunks (batch BIGINT)');
  await session.run('CREATE TABLE IF NOT EXISTS lake.loft.lake (lake_id VARCHAR, epoch BIGINT)');
  if ((await session.count('SELECT count(*) FROM lake.loft.lake')) === 0) {
    await session.run('INSERT INTO lake.loft.lake VALUES ($1, 0)', [newLakeId]);
  }
  await session.run('COMMIT');
  const { lake_id: lakeId } = await session.row('SELECT lake_id FROM lake.loft.lake');
  const used = await session.count(
    'SELECT (SELECT count(*) FROM lake.loft.drained_chunks) + (SELECT count(*) FROM lake.loft.file_hashes)',
  );
  return { lakeId: String(lakeId), unused: used === 0 };
}
