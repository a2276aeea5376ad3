import { createHash } from 'node:crypto';
import type { PoolClient } from 'pg';
import { sqlState, type Db } from '../postgres/connect';

/** A result row, column by column, as Postgres' text. */
export type TextRow = (string | null)[];

/** The most statements that one connection keeps prepared; a caller may ask for any set of features. */
const MAX_PREPARED = 256;

/** Connection → the names of its prepared statements, the longest unused first. */
const prepared = new WeakMap<PoolClient, Set<string>>();
const names = new Map<string, string>();

/**
 * Runs a statement that Postgres parses once a connection. A statement that the connection lost (a pooler between, a
 * DISCARD) or whose result has other columns by now is prepared again, once; so this is not for use inside a transaction.
 */
export async function runPrepared(db: Db, sql: string, values: unknown[]): Promise<TextRow[]> {
  try {
    return await once(db, sql, values);
  } catch (error) {
    // invalid_sql_statement_name, "cached plan must not change result type"
    if (!['26000', '0A000'].includes(sqlState(error) ?? '')) throw error;
    return once(db, sql, values);
  }
}

async function once(db: Db, sql: string, values: unknown[]): Promise<TextRow[]> {
  const client = await db.connect();
  let broken: Error | undefined;
  try {
    const name = nameOf(sql);
    await makeRoom(client, name);
    try {
      const { rows } = await client.query<TextRow>({ name, text: sql, values, rowMode: 'array' });
      return rows;
    } catch (error) {
      if (['26000', '0A000'].includes(sqlState(error) ?? '')) await forget(client, name);
      throw error;
    }
  } catch (error) {
    // Only an answer of Postgres leaves a connection that can be used again.
    if (!(error instanceof Error && 'severity' in error)) broken = error as Error;
    throw error;
  } finally {
    client.release(broken);
  }
}

function nameOf(sql: string): string {
  let name = names.get(sql);
  if (name === undefined) {
    if (names.size >= 4 * MAX_PREPARED) names.clear();
    name = `loft_${createHash('sha1').update(sql).digest('hex')}`;
    names.set(sql, name);
  }
  return name;
}

async function makeRoom(client: PoolClient, name: string): Promise<void> {
  let mine = prepared.get(client);
  if (mine === undefined) prepared.set(client, (mine = new Set()));
  mine.delete(name);
  const [oldest] = mine;
  if (mine.size >= MAX_PREPARED && oldest !== undefined) await forget(client, oldest);
  mine.add(name);
}

async function forget(client: PoolClient, name: string): Promise<void> {
  prepared.get(client)?.delete(name);
  const { parsedStatements } = (client as unknown as { connection: { parsedStatements: Record<string, string> } })
    .connection;
  if (parsedStatements[name] === undefined) return;
  delete parsedStatements[name]; // what pg believes to be prepared
  await client.query(`DEALLOCATE ${name}`).catch((error: unknown) => {
    if (sqlState(error) !== '26000') throw error;
  });
}
