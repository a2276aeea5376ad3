import type { ConnectionOptions, Db, PoolOptions } from '../postgres/connect';
import { openPool } from '../postgres/connect';

/**
 * Every read is an index probe a key and never anything else, so it is planned once a connection and must not depend on
 * what the table looked like then: a plan made for an empty table would stay a sequential scan while the table grows.
 */
const settings = `
  SET plan_cache_mode = force_generic_plan;
  SET enable_seqscan = off;
  SET enable_bitmapscan = off;
  SET enable_hashjoin = off;
  SET enable_mergejoin = off;
  SET enable_memoize = off;
  SET enable_material = off;
  SET max_parallel_workers_per_gather = 0`;

/** A pool for online reads alone. The caller ends it. */
export function openReadPool(connection: ConnectionOptions, options: PoolOptions): Db {
  const pool = openPool(connection, options);
  // Queued on the connection before it is given to anybody; should it fail, so does what comes after it.
  pool.on('connect', (client) => void client.query(settings).catch(() => undefined));
  return pool;
}
