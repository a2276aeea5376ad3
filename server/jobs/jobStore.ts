import type { JobInfo } from '../../contract/api';
import { LoftError } from '../../contract/errors';
import { parseJson, printJson } from '../../contract/json';
import type { PageOf, PageRequest } from '../offline/offlineStore';
import type { Db } from '../postgres/connect';

/** What stands in registry.jobs: each job as it was last heard of. */
export class JobStore {
  /** `gateway` names this data folder's gateway, the same after a restart. */
  constructor(
    private readonly db: Db,
    private readonly gateway: string,
  ) {}

  async insert(job: JobInfo): Promise<void> {
    await this.db.query(
      'INSERT INTO registry.jobs (id, kind, state, gateway, info, created_at) VALUES ($1, $2, $3, $4, $5, $6)',
      [job.id, job.kind, job.state, this.gateway, printJson(job), job.createdAt],
    );
  }

  /** A job that has ended stays as it ended: a report of its progress may arrive here after its end, on another connection. */
  async update(job: JobInfo): Promise<void> {
    await this.db.query(
      `UPDATE registry.jobs SET state = $2, info = $3, updated_at = clock_timestamp()
       WHERE id = $1 AND state IN ('queued', 'running')`,
      [job.id, job.state, printJson(job)],
    );
  }

  /** Throws LoftError 404 `no_such_job`. */
  async get(id: string): Promise<JobInfo> {
    const { rows } = await this.db.query<{ info: string }>('SELECT info FROM registry.jobs WHERE id = $1', [id]);
    if (rows[0]) return jobOf(rows[0].info);
    throw new LoftError(404, 'no_such_job', `There is no job ${JSON.stringify(id.slice(0, 60))}.`);
  }

  /** Newest first. The cursor is the last one's creation time and id. */
  async list({ cursor, limit }: PageRequest): Promise<PageOf<JobInfo>> {
    const [before, id] = cursor === undefined ? [null, null] : readCursor(cursor);
    const { rows } = await this.db.query<{ info: string; created_at: string; id: string }>(
      `SELECT id, info, created_at FROM registry.jobs
       WHERE $1::timestamptz IS NULL OR (created_at, id) < ($1::timestamptz, $2)
       ORDER BY created_at DESC, id DESC LIMIT $3`,
      [before, id, limit + 1],
    );
    const page = rows.slice(0, limit);
    const last = page.at(-1);
    return {
      items: page.map((row) => jobOf(row.info)),
      ...(rows.length > limit && last ? { nextCursor: writeCursor(last.created_at, last.id) } : {}),
    };
  }

  /** The jobs that an earlier process of this gateway left queued or running. */
  async unfinished(): Promise<JobInfo[]> {
    const { rows } = await this.db.query<{ info: string }>(
      `SELECT info FROM registry.jobs WHERE gateway = $1 AND state IN ('queued', 'running') ORDER BY created_at`,
      [this.gateway],
    );
    return rows.map((row) => jobOf(row.info));
  }
}

function jobOf(info: string): JobInfo {
  return parseJson(info) as unknown as JobInfo;
}

function writeCursor(at: string, id: string): string {
  return Buffer.from(`${at}|${id}`).toString('base64url');
}

function readCursor(cursor: string): [string, string] {
  const [at, id] = Buffer.from(cursor, 'base64url').toString().split('|');
  if (at !== undefined && id !== undefined && /^[\d :.+-]{10,40}$/.test(at) && /^[0-9a-z-]{1,60}$/.test(id))
    return [at, id];
  throw new LoftError(400, 'bad_cursor', 'The cursor is not a nextCursor of this list. Start again without one.');
}
