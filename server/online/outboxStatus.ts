import type { Health } from '../../contract/api';
import type { Db } from '../postgres/connect';

export type OutboxStatus = NonNullable<Health['outbox']>;

/** What was written and has not reached history: chunks, their rows, and the age of the oldest in seconds (null when there is none). */
export async function outboxStatus(db: Db): Promise<OutboxStatus> {
  const { rows } = await db.query<{ chunks: string; rows: string; oldest: string | null }>(
    `SELECT count(*) AS chunks, coalesce(sum(row_count), 0) AS rows,
       CASE WHEN count(*) > 0 THEN extract(epoch FROM greatest(statement_timestamp() - min(written_at), interval '0')) END AS oldest
     FROM registry.outbox`,
  );
  const [row] = rows;
  return {
    chunks: Number(row?.chunks ?? 0),
    rows: Number(row?.rows ?? 0),
    oldestSeconds: row?.oldest == null ? null : Number(row.oldest),
  };
}
