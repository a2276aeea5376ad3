import type { ClientBase, Pool } from 'pg';
import type { ChangeEvent } from '../../contract/api';
import { parseJson, printJson } from '../../contract/json';

/** NOTIFY only rings the bell; what happened is read from registry.changes. */
export const CHANGES_CHANNEL = 'featureloft_changes';

export interface LoggedChange {
  /** 1, 2, 3 … without gaps, in commit order. */
  position: number;
  event: ChangeEvent;
}

/**
 * Appends to the change log inside the caller's transaction, and rings at its commit. Locks registry.head until then,
 * so positions are in commit order: call it late, and take no other lock after it. Answers the position.
 */
export async function appendChange(client: ClientBase, event: ChangeEvent): Promise<number> {
  const { rows } = await client.query<{ position: string }>(
    `WITH next AS (UPDATE registry.head SET change_position = change_position + 1 RETURNING change_position)
     INSERT INTO registry.changes (position, registry_version, data)
     SELECT change_position, $1, $2 FROM next RETURNING position`,
    [event.registryVersion, printJson(event)],
  );
  const position = Number(rows[0]?.position);
  await client.query('SELECT pg_notify($1, $2)', [CHANGES_CHANNEL, String(position)]);
  return position;
}

/** The position of the newest change; 0 when there is none. */
export async function newestPosition(db: Pool | ClientBase): Promise<number> {
  const { rows } = await db.query<{ change_position: string }>('SELECT change_position FROM registry.head');
  return Number(rows[0]?.change_position ?? 0);
}

/**
 * Up to `limit` changes after a position, in order. 'resync' when the log doesn't hold what follows it: it was cut, or
 * the database is an older one than the position came from.
 */
export async function readChanges(
  db: Pool | ClientBase,
  after: number,
  limit: number,
): Promise<LoggedChange[] | 'resync'> {
  const { rows } = await db.query<{ newest: string; position: string | null; data: string | null }>(
    `SELECT h.change_position AS newest, c.position, c.data
       FROM registry.head h
       LEFT JOIN (SELECT position, data FROM registry.changes WHERE position > $1 ORDER BY position LIMIT $2) c ON true
      ORDER BY c.position`,
    [after, limit],
  );
  const newest = Number(rows[0]?.newest ?? 0);
  const changes = rows.flatMap(({ position, data }) =>
    position === null || data === null
      ? []
      : [{ position: Number(position), event: parseJson(data) as unknown as ChangeEvent }],
  );
  const expected = after >= newest ? undefined : after + 1;
  return after > newest || changes[0]?.position !== expected ? 'resync' : changes;
}
