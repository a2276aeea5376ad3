import { createHash } from 'node:crypto';
import type { PoolClient } from 'pg';
import { LoftError } from '../../../contract/errors';
import { sqlState, type Db } from '../connect';
import { inTransaction } from '../transaction';
import { registry } from './001_registry';

export interface Migration {
  number: number;
  name: string;
  sql: string;
}

/** In their order. A published one never changes: its checksum stands in every database. */
const migrations: readonly Migration[] = [registry];

const MIGRATION_LOCK = 5_638_140_001; // any constant: two gateways that start at once take turns
const MIGRATION_TIMEOUT = '10min';

/**
 * Brings the database's schemas to the newest form that this program knows, each step in a transaction of its own.
 * Throws LoftError 409 `schema_too_new` when a newer program has been there, `schema_altered` when a step that was
 * applied is not the one known here, `schema_in_use` and `not_utf8` for a database that can't be ours; 403
 * `may_not_create`.
 */
export async function migrate(db: Db, known: readonly Migration[] = migrations): Promise<{ applied: number[] }> {
  const applied: number[] = [];
  for (;;) {
    try {
      const done = await inTransaction(db, (client) => applyNext(client, known));
      if (done === undefined) return { applied };
      applied.push(done);
    } catch (error) {
      throw inPlainWords(error);
    }
  }
}

function inPlainWords(error: unknown): unknown {
  switch (sqlState(error)) {
    case '42501': // insufficient_privilege
      return new LoftError(
        403,
        'may_not_create',
        'This database has no Feature Loft in it yet, or an older one, and the role that connects may not create schemas here. Let its owner start Feature Loft once, or GRANT CREATE ON DATABASE to the role.',
        { cause: error },
      );
    case '42P06': // duplicate_schema
      return new LoftError(
        409,
        'schema_in_use',
        'This database has a schema named registry, features or trash that is not Feature Loft’s. Choose a database without them.',
        { cause: error },
      );
    default:
      return error;
  }
}

async function applyNext(client: PoolClient, known: readonly Migration[]): Promise<number | undefined> {
  await client.query(`SET LOCAL statement_timeout = '${MIGRATION_TIMEOUT}'`);
  await client.query('SELECT pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
  // A role without the right to create is stopped only where there is something to create.
  const { rows: there } = await client.query<{ found: string | null }>(
    `SELECT to_regclass('registry.migrations')::text AS found`,
  );
  if (there[0]?.found == null) await prepare(client);
  const { rows } = await client.query<{ number: string; checksum: string; name: string }>(
    'SELECT number, name, checksum FROM registry.migrations ORDER BY number',
  );
  const newest = Number(rows.at(-1)?.number ?? 0);
  const newestKnown = known.at(-1)?.number ?? 0;
  if (newest > newestKnown)
    throw new LoftError(
      409,
      'schema_too_new',
      `This database was set up by a newer Feature Loft (schema ${newest}; this one knows schemas up to ${newestKnown}). Update Feature Loft, or choose another database.`,
    );
  for (const row of rows) {
    const migration = known.find((one) => one.number === Number(row.number));
    if (migration === undefined || checksum(migration) !== row.checksum)
      throw new LoftError(
        409,
        'schema_altered',
        `Schema step ${row.number} (${row.name}) of this database is not the one that this Feature Loft knows. Restore the database from a backup, or choose another one.`,
      );
  }
  const next = known.find((migration) => migration.number > newest);
  if (next === undefined) return undefined;
  await client.query(next.sql);
  await client.query('INSERT INTO registry.migrations (number, name, checksum) VALUES ($1, $2, $3)', [
    next.number,
    next.name,
    checksum(next),
  ]);
  return next.number;
}

async function prepare(client: PoolClient): Promise<void> {
  const { rows } = await client.query<{ server_encoding: string }>('SHOW server_encoding');
  const encoding = rows[0]?.server_encoding;
  if (encoding !== 'UTF8')
    throw new LoftError(
      409,
      'not_utf8',
      `This database's encoding is ${encoding}, expected UTF8. Choose a database made with ENCODING 'UTF8'.`,
    );
  await client.query(BOOTSTRAP);
}

const BOOTSTRAP = `
CREATE SCHEMA registry;
CREATE TABLE registry.migrations (
  number integer PRIMARY KEY,
  name text NOT NULL,
  checksum text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)`;

function checksum(migration: Migration): string {
  return createHash('sha256').update(migration.sql).digest('hex');
}
