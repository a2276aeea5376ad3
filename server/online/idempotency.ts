import { createHash } from 'node:crypto';
import type { PoolClient } from 'pg';
import { LoftError } from '../../contract/errors';
import type { Db } from '../postgres/connect';

/** One request that may be sent twice but is to be done once. */
export interface Idempotency {
  /** The `Idempotency-Key` header. */
  key: string;
  /** Whose key it is, and for which route: `POST /v1/views/{view}/rows`. */
  caller: string;
  route: string;
  /** Of all that makes a request the same: see `requestHash`. */
  requestHash: string;
}

const MAX_KEY_LENGTH = 255;
const KEPT = `interval '24 hours'`;

/** Concrete path with its query, and SHA-256 of the body's bytes. */
export function requestHash(pathAndQuery: string, bodySha256: string): string {
  return createHash('sha256')
    .update(JSON.stringify([pathAndQuery, bodySha256]))
    .digest('hex');
}

/**
 * The answer that the key was given before; undefined when there is none. Throws LoftError 422 `idempotency_mismatch` when
 * the key came with another request, `bad_idempotency_key` for what is no key.
 */
export async function earlierAnswer<Answer>(db: Db | PoolClient, request: Idempotency): Promise<Answer | undefined> {
  const { key, caller, route, requestHash } = request;
  if (!/^[!-~]+$/.test(key) || key.length > MAX_KEY_LENGTH) {
    throw new LoftError(
      422,
      'bad_idempotency_key',
      `An Idempotency-Key is 1 to ${MAX_KEY_LENGTH} visible ASCII characters.`,
    );
  }
  const { rows } = await db.query<{ request_hash: string; answer: string }>(
    `SELECT request_hash, answer FROM registry.idempotency
     WHERE caller = $1 AND route = $2 AND key = $3 AND expires > statement_timestamp()`,
    [caller, route, key],
  );
  const [earlier] = rows;
  if (earlier === undefined) return undefined;
  if (earlier.request_hash === requestHash) return JSON.parse(earlier.answer) as Answer;
  throw new LoftError(
    422,
    'idempotency_mismatch',
    'This Idempotency-Key came before with another path, query or body. Use a new key for a new request; send the same request to get its answer again.',
  );
}

/**
 * Within the client's transaction: the answer that the key was given before, or that of `work`, which is kept for 24 hours.
 * A second call while the first runs waits for it. What `work` throws is not kept.
 */
export async function onceOnly<Answer>(
  client: PoolClient,
  request: Idempotency,
  work: () => Promise<Answer>,
): Promise<Answer> {
  const { key, caller, route, requestHash } = request;
  const scope = JSON.stringify([caller, route, key]);
  await client.query(`SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, [scope]);
  // A statement of its own: its snapshot is taken after the lock was had.
  const earlier = await earlierAnswer<Answer>(client, request);
  if (earlier !== undefined) return earlier;
  const answer = await work();
  await client.query(
    `WITH expired AS (
       DELETE FROM registry.idempotency WHERE (caller, route, key) IN (
         SELECT caller, route, key FROM registry.idempotency
         WHERE expires <= statement_timestamp() AND (caller, route, key) <> ($1, $2, $3)
         LIMIT 100 FOR UPDATE SKIP LOCKED))
     INSERT INTO registry.idempotency (caller, route, key, request_hash, status, answer, expires)
     VALUES ($1, $2, $3, $4, 200, $5, statement_timestamp() + ${KEPT})
     ON CONFLICT (caller, route, key) DO UPDATE SET request_hash = excluded.request_hash, status = excluded.status,
       answer = excluded.answer, created_at = excluded.created_at, expires = excluded.expires`,
    [caller, route, key, requestHash, JSON.stringify(answer)],
  );
  return answer;
}
