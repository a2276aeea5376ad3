import { existsSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { after } from 'mocha';
import { openDataFolder } from '../../../server/dataFolder';
import { openPool, type ConnectionOptions, type Db } from '../../../server/postgres/connect';
import { quoteName } from '../../../server/postgres/identifiers';
import { migrate } from '../../../server/postgres/migrations/migrate';
import { startCluster, type EmbeddedPostgres } from '../../../server/postgres/embedded/cluster';
import { scratchFolder } from './program';

/** A database of its own on the cluster that all tests of this process share. */
export interface TestDatabase {
  /** A pool of up to 10 connections; closed by `drop`. */
  db: Db;
  connection: ConnectionOptions;
  drop: () => Promise<void>;
}

const TEMPLATE = 'migrated';
const DROP_TIMEOUT_MS = 1_000;

interface Shared {
  cluster: EmbeddedPostgres;
  admin: Db;
  removeFolder: () => Promise<void>;
}
let shared: Promise<Shared> | undefined;
let made = 0;

/** An empty, migrated database. Takes about 50 ms, and a second when it is the first of this process. */
export function freshDatabase(): Promise<TestDatabase> {
  return databaseFrom(TEMPLATE);
}

/** A database without our schemas. */
export function bareDatabase(): Promise<TestDatabase> {
  return databaseFrom('template0');
}

async function databaseFrom(template: string): Promise<TestDatabase> {
  const { cluster, admin } = await start();
  const name = `test_${++made}`;
  await admin.query(`CREATE DATABASE ${quoteName(name)} TEMPLATE ${quoteName(template)}`);
  const connection = { ...cluster.connectionOptions, database: name };
  const db = openPool(connection, { max: 10, applicationName: 'featureloft test' });
  return {
    db,
    connection,
    drop: async () => {
      await admin.query(`DROP DATABASE ${quoteName(name)} WITH (FORCE)`);
      // Waits for connections that a failed test never gave back: no reason to fail the next one too.
      await Promise.race([db.end(), delay(DROP_TIMEOUT_MS, undefined, { ref: false })]);
    },
  };
}

function start(): Promise<Shared> {
  shared ??= startShared();
  return shared;
}

async function startShared(): Promise<Shared> {
  const scratch = await scratchFolder(inMemory());
  const cluster = await startCluster(await openDataFolder(join(scratch.path, 'data')), () => undefined);
  const admin = openPool({ ...cluster.connectionOptions, database: 'postgres' }, { max: 2 });
  await admin.query(`CREATE DATABASE ${quoteName(TEMPLATE)}`);
  const template = openPool({ ...cluster.connectionOptions, database: TEMPLATE }, { max: 1 });
  await migrate(template);
  await template.end();
  return { cluster, admin, removeFolder: () => scratch.remove() };
}

/** A file system in memory where there is one with room: its fsync costs nothing. */
function inMemory(): string | undefined {
  const dir = '/dev/shm';
  if (!existsSync(dir)) return undefined;
  const { bavail, bsize } = statfsSync(dir);
  return bavail * bsize > 2 * 1024 ** 3 ? dir : undefined;
}

// Registered on mocha's root suite, because this file is loaded outside of any describe().
after(async function () {
  if (shared === undefined) return;
  const { cluster, admin, removeFolder } = await shared;
  await admin.end();
  await cluster.stop();
  await removeFolder();
});
