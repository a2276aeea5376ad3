import type { Client } from 'pg';
import { newClient, type ConnectionOptions, type Db } from '../postgres/connect';
import { CHANGES_CHANNEL, newestPosition, readChanges, type LoggedChange } from './changeLog';

/** `'resync'`: changes were missed that can't be read any more; whoever follows reads the registry anew. */
export type ChangeListener = (news: LoggedChange[] | 'resync') => void;

export interface ChangeFeedOptions {
  db: Db;
  /** For the one connection that listens; behind a pooler, a direct one. */
  connection: ConnectionOptions;
  /** Run before listeners hear of changes, so that what they read next is new: the registry cache's reload. */
  beforeNews: () => Promise<unknown>;
  log?: (line: string) => void;
  /** How often the log is looked at without a bell. */
  pollMs?: number;
}

const POLL_MS = 3_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
const BATCH = 1_000;
const MOST_REPLAYED = 10_000;

/**
 * The registry's changes as they are committed, by any gateway: in order, none lost, none twice. A bell (NOTIFY), a new
 * connection and a timer all do the same thing: read the log from the last position on.
 */
export class ChangeFeed {
  private readonly listeners = new Set<ChangeListener>();
  private seen = 0;
  private stopped = true;
  private listening: Client | undefined;
  private pauseMs = FIRST_PAUSE_MS;
  private reconnectTimer: NodeJS.Timeout | undefined;
  private pollTimer: NodeJS.Timeout | undefined;
  private reading: Promise<void> | undefined;
  private readAgain = false;

  constructor(private readonly options: ChangeFeedOptions) {}

  /** Position of the newest change that listeners were told. */
  get position(): number {
    return this.seen;
  }

  /** False while only the timer brings news. */
  get connected(): boolean {
    return this.listening !== undefined;
  }

  /** Starts from the newest change. Rejects when Postgres can't be reached now; later losses are repaired by itself. */
  async start(): Promise<void> {
    this.seen = await newestPosition(this.options.db);
    await this.options.beforeNews();
    this.stopped = false;
    this.pollTimer = setInterval(() => void this.read(), this.options.pollMs ?? POLL_MS);
    await this.connect();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearInterval(this.pollTimer);
    clearTimeout(this.reconnectTimer);
    const client = this.listening;
    this.listening = undefined;
    await client?.end().catch(() => undefined);
    await this.reading;
  }

  /**
   * Called with news in order. To continue from an older position: subscribe first and keep what comes, then ask
   * `since`, then pass on what was kept and is newer. Returns the way to stop.
   */
  subscribe(listener: ChangeListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Every change after a position, or 'resync' when the log no longer tells, or tells too much at once. */
  async since(position: number): Promise<LoggedChange[] | 'resync'> {
    const changes = await readChanges(this.options.db, position, MOST_REPLAYED + 1);
    return changes === 'resync' || changes.length > MOST_REPLAYED ? 'resync' : changes;
  }

  /** Reads what is committed now, as after an own publish, without waiting for the bell. */
  async catchUp(): Promise<void> {
    await this.read();
  }

  private async connect(): Promise<void> {
    if (this.stopped) return;
    const client = newClient(this.options.connection, 'featureloft changes');
    const lost = (error?: Error): void => this.lost(client, error);
    client.on('error', lost);
    client.on('end', () => lost());
    client.on('notification', () => void this.read());
    try {
      await client.connect();
      await client.query(`LISTEN ${CHANGES_CHANNEL}`);
      if (this.stopped) return await client.end();
      this.listening = client;
      this.pauseMs = FIRST_PAUSE_MS;
    } catch (error) {
      client.end().catch(() => undefined);
      this.reconnectLater(error);
      return;
    }
    // What was committed before LISTEN rang nobody.
    await this.read();
  }

  private lost(client: Client, error: Error | undefined): void {
    if (this.listening !== client) return;
    this.listening = undefined;
    client.end().catch(() => undefined);
    this.reconnectLater(error);
  }

  private reconnectLater(error: unknown): void {
    if (this.stopped) return;
    const reason = error === undefined ? 'closed by the server' : messageOf(error);
    this.options.log?.(`the change feed's connection is gone, trying again: ${reason}`);
    const pause = this.pauseMs * (0.5 + Math.random());
    this.pauseMs = Math.min(LONGEST_PAUSE_MS, this.pauseMs * 2);
    clearTimeout(this.reconnectTimer);
    this.reconnectTimer = setTimeout(() => void this.connect(), pause);
  }

  /** One reading at a time; a bell meanwhile makes it look once more. */
  private read(): Promise<void> {
    if (this.stopped) return Promise.resolve();
    this.readAgain = true;
    this.reading ??= this.readAll();
    return this.reading;
  }

  private async readAll(): Promise<void> {
    try {
      while (this.readAgain && !this.stopped) {
        this.readAgain = false;
        await this.readBatch();
      }
    } catch (error) {
      // The timer comes again; what was not read was not passed on, so nothing is lost.
      this.options.log?.(`the change log can't be read now: ${messageOf(error)}`);
    } finally {
      // In the same step as the loop's last look, so that no bell falls between.
      this.reading = undefined;
    }
  }

  private async readBatch(): Promise<void> {
    const news = await readChanges(this.options.db, this.seen, BATCH);
    if (news.length === 0) return;
    const position = news === 'resync' ? await newestPosition(this.options.db) : (news.at(-1)?.position ?? this.seen);
    await this.options.beforeNews();
    this.seen = position;
    this.readAgain ||= news !== 'resync' && news.length === BATCH;
    for (const listener of this.listeners) {
      try {
        listener(news);
      } catch (error) {
        this.options.log?.(`a follower of changes failed: ${messageOf(error)}`);
      }
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
