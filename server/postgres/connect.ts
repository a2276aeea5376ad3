import { Client, Pool, type PoolConfig } from 'pg';
import { LoftError } from '../../contract/errors';

/** The gateway's way to Postgres. Every result is text, so that no value passes through a JavaScript number or Date. */
export type Db = Pool;

/** Where Postgres is: a URL, or its parts. Never logged: it may hold a password. */
export type ConnectionOptions = Pick<
  PoolConfig,
  'connectionString' | 'host' | 'port' | 'user' | 'password' | 'database' | 'ssl'
> & {
  /** What talks to this server, where pg's own client would trust it too much (embedded/provenClient.ts). */
  Client?: typeof Client;
};

export interface PoolOptions {
  /** Most connections open at once. */
  max: number;
  /** Seen in pg_stat_activity. */
  applicationName?: string;
  /** A statement that takes longer is cancelled; a bulk load sets its own with SET LOCAL. */
  statementTimeoutMs?: number;
  /** Settings of Postgres that each connection has from its start, by name; values without spaces. */
  settings?: Settings;
}

const CONNECT_TIMEOUT_MS = 10_000;
const STATEMENT_TIMEOUT_MS = 60_000;
const IDLE_CONNECTION_MS = 60_000;
const IDLE_IN_TRANSACTION_MS = 120_000;
const RETRY_AFTER_SECONDS = 2;
type Settings = Readonly<Record<string, string>>;
/**
 * Of every connection. JIT costs more than it gains on one-row probes. Dates as ISO and floats as their shortest exact
 * text are what server/postgres/columnTypes.ts reads.
 */
const SETTINGS: Settings = {
  TimeZone: 'UTC',
  DateStyle: 'ISO,MDY',
  extra_float_digits: '1',
  bytea_output: 'hex',
  jit: 'off',
};

function connectionConfig(
  connection: ConnectionOptions,
  applicationName = 'featureloft',
  settings: Settings = {},
): PoolConfig {
  return {
    ...withSettings(connection, { ...SETTINGS, ...settings }),
    types: { getTypeParser: () => (text: string) => text },
    application_name: applicationName,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
  };
}

/** What a URL sets stands above what stands beside it, so there ours are added to its own, of which the last counts. */
function withSettings(connection: ConnectionOptions, settings: Settings): PoolConfig {
  const options = Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(' ');
  const { connectionString } = connection;
  if (connectionString === undefined || !URL.canParse(connectionString)) return { ...connection, options };
  const url = new URL(connectionString);
  url.searchParams.set('options', `${url.searchParams.get('options') ?? ''} ${options}`.trim());
  return { ...connection, connectionString: url.href };
}

/** One connection outside of a pool, as to LISTEN. Not connected yet; the caller ends it. */
export function newClient(connection: ConnectionOptions, applicationName?: string): Client {
  return new (connection.Client ?? Client)(connectionConfig(connection, applicationName));
}

/**
 * A pool whose failures to reach Postgres are LoftError 503 `online_store_away`; other errors of Postgres come as they
 * are. The caller ends it.
 */
export function openPool(connection: ConnectionOptions, options: PoolOptions): Db {
  const pool = new Pool({
    ...connectionConfig(connection, options.applicationName, options.settings),
    max: options.max,
    statement_timeout: options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
    idleTimeoutMillis: IDLE_CONNECTION_MS,
  });
  // A connection lost while idle is dropped by the pool; one lost while checked out fails its statement. Without a
  // listener either would end the process.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  translateFailures(pool);
  return pool;
}

function translateFailures(pool: Pool): void {
  const query = pool.query.bind(pool) as (...parameters: unknown[]) => unknown;
  const connect = pool.connect.bind(pool) as (...parameters: unknown[]) => unknown;
  const translated = (answer: unknown): unknown =>
    answer instanceof Promise
      ? answer.catch((error: unknown) => {
          throw translateAway(error);
        })
      : answer;
  pool.query = ((...parameters: unknown[]) => translated(query(...parameters))) as typeof pool.query;
  pool.connect = ((...parameters: unknown[]) => translated(connect(...parameters))) as typeof pool.connect;
}

/** Turns "cannot reach Postgres" into LoftError 503 `online_store_away`; gives any other error back unchanged. */
export function translateAway(error: unknown): unknown {
  if (!isAway(error)) return error;
  return new LoftError(
    503,
    'online_store_away',
    // A connection that is lost while it commits leaves open whether it did.
    'The online store (Postgres) cannot be reached. A change that was under way may or may not have been made: look, or send it again with its Idempotency-Key or plan hash. Try again shortly.',
    { retryAfterSeconds: RETRY_AFTER_SECONDS, cause: error },
  );
}

const awayCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOENT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'EPIPE',
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  '53300', // too_many_connections
]);

function isAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = sqlState(error);
  if (code !== undefined && (awayCodes.has(code) || code.startsWith('08'))) return true;
  // pg and pg-pool raise these without a code.
  return (
    code === undefined &&
    /^(Connection terminated|timeout exceeded when trying to connect|timeout expired|Client has encountered a connection error|Client was closed)/.test(
      error.message,
    )
  );
}

/** Postgres' five-character error code, or Node's code of a system error. */
export function sqlState(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
