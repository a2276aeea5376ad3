import { DatabaseError, type Client } from 'pg';
import { DATABASE, type ClusterFile } from './clusterFile';
import { ProvenClient } from './provenClient';

const CONNECT_TIMEOUT_MS = 10_000;
const STATEMENT_TIMEOUT_MS = 30_000;

/** SQLSTATEs that this folder decides by. */
const UNKNOWN_DATABASE = '3D000';
export const WRONG_PASSWORD = '28P01';

/** One short session as the cluster's owner. */
export async function withSession<T>(
  file: ClusterFile,
  database: string,
  use: (client: Client) => Promise<T>,
): Promise<T> {
  const { host, port, user, password } = file;
  const client = new ProvenClient({
    ...{ host, port, user, password, database },
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    application_name: 'featureloft (start)',
  });
  // A server that ends meanwhile is told by the query that fails.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await use(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Also shows that the server answers and takes our password. */
export async function ensureDatabase(file: ClusterFile): Promise<void> {
  try {
    await withSession(file, DATABASE, (client) => client.query('SELECT 1'));
  } catch (error) {
    if (sqlState(error) !== UNKNOWN_DATABASE) throw error;
    await withSession(file, 'postgres', (client) => client.query(`CREATE DATABASE ${DATABASE}`));
  }
}

export function sqlState(error: unknown): string | undefined {
  return error instanceof DatabaseError ? error.code : undefined;
}
