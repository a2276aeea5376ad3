import type { ConnectionOptions, Db, PoolOptions } from '../postgres/connect';
import { openPool } from '../postgres/connect';

/**
 * Every read is an index probe a key and never anything else, so it is planned once a connection and must not depend on
 * what the table looked like then: a plan made for an empty table would stay a sequential scan while the table grows.
 */
const settings = {
  plan_cache_mode: 'force_generic_plan',
  enable_seqscan: 'off',
  enable_bitmapscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  enable_memoize: 'off',
  enable_material: 'off',
  max_parallel_workers_per_gather: '0',
};

/** A pool for online reads alone. The caller ends it. */
export function openReadPool(connection: ConnectionOptions, options: PoolOptions): Db {
  return openPool(connection, { ...options, settings });
}
