import { LoftError } from '../../contract/errors';
import { sqlState, type Db } from '../postgres/connect';
import type { RegistryCache } from '../registry/cache';
import type { RegistrySnapshot } from '../registry/snapshot';

/** Thrown by a statement's caller when the head was at another version than its plan was made for; nothing was done then. */
export class RegistryMoved extends Error {}

/** A publish is rare and short, so a statement that misses the registry this often in a row is in trouble of another kind. */
const MAX_ATTEMPTS = 8;

/** undefined_table, undefined_column, cached columns: a publish got between the plan and its statement. */
const movedStates = new Set(['42P01', '42703', '3F000']);

/**
 * Runs `work` with the registry as this gateway knows it; again with the newer one when it had moved. A refusal (unknown
 * view, wrong column) counts only when it was made by the registry as it is now. `work` has no effect when it throws.
 */
export async function withRegistry<Result>(
  context: { db: Db; registry: RegistryCache },
  work: (snapshot: RegistrySnapshot) => Promise<Result>,
): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    const snapshot = context.registry.current();
    try {
      return await work(snapshot);
    } catch (error) {
      if (!mayBeOutdated(error)) throw error;
      const head = await headVersion(context.db);
      if (head === snapshot.registryVersion && !(error instanceof RegistryMoved)) throw error;
      if (attempt === MAX_ATTEMPTS) throw tooManyMoves(error);
      await context.registry.reload(head);
    }
  }
}

function mayBeOutdated(error: unknown): boolean {
  if (error instanceof RegistryMoved) return true;
  if (error instanceof LoftError) return error.status === 404 || error.status === 409 || error.status === 422;
  return movedStates.has(sqlState(error) ?? '');
}

async function headVersion(db: Db): Promise<number> {
  const { rows } = await db.query<{ registry_version: string }>('SELECT registry_version FROM registry.head');
  return Number(rows[0]?.registry_version);
}

function tooManyMoves(cause: unknown): LoftError {
  return new LoftError(
    503,
    'registry_moving',
    'The registry was published to again and again while this request ran. Nothing was changed; try again shortly.',
    { retryAfterSeconds: 1, cause },
  );
}
