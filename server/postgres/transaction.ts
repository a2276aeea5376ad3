import { setTimeout as delay } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import { sqlState, translateAway, type Db } from './connect';

const MAX_ATTEMPTS = 6;
const FIRST_PAUSE_MS = 10;
const retried = new Set(['40P01', '40001']); // deadlock_detected, serialization_failure

/**
 * Runs `work` in one READ COMMITTED transaction and answers its result once committed. A deadlock is retried from the
 * start a few times, so `work` may run more than once and must have no effect outside the transaction.
 */
export async function inTransaction<Result>(db: Db, work: (client: PoolClient) => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(db, work);
    } catch (error) {
      if (attempt === MAX_ATTEMPTS || !retried.has(sqlState(error) ?? '')) throw translateAway(error);
      await delay(FIRST_PAUSE_MS * 2 ** attempt * Math.random());
    }
  }
}

async function once<Result>(db: Db, work: (client: PoolClient) => Promise<Result>): Promise<Result> {
  const client = await db.connect();
  let broken: Error | undefined;
  try {
    await client.query('BEGIN ISOLATION LEVEL READ COMMITTED');
    try {
      const result = await work(client);
      const { command } = await client.query('COMMIT');
      // Postgres answers COMMIT of a failed transaction with ROLLBACK and no error.
      if (command !== 'COMMIT') throw new Error('the transaction had failed before its commit, and was rolled back');
      return result;
    } catch (error) {
      await client.query('ROLLBACK').catch((lost: unknown) => {
        broken = lost instanceof Error ? lost : new Error(String(lost));
      });
      throw error;
    }
  } catch (error) {
    if (translateAway(error) !== error) broken ??= error as Error;
    throw error;
  } finally {
    client.release(broken);
  }
}
