import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';

interface ClusterFile {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
}

/** Asks a data folder's Postgres itself, past the gateway. Every value comes as Postgres' own text, times in UTC. */
export async function askPostgres(
  dataDir: string,
  statement: string,
  parameters: unknown[] = [],
): Promise<Record<string, string | null>[]> {
  const file = JSON.parse(await readFile(join(dataDir, 'postgres.json'), 'utf8')) as ClusterFile;
  const { host, port, user, password, database } = file;
  const client = new Client({
    ...{ host, port, user, password, database },
    types: { getTypeParser: () => (text: string) => text },
    options: '-c TimeZone=UTC',
  });
  await client.connect();
  try {
    return (await client.query<Record<string, string | null>>(statement, parameters)).rows;
  } finally {
    await client.end();
  }
}
