import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../../fileErrors';

/** What a running Postgres writes to `postmaster.pid` of its data folder. */
export interface PostmasterFile {
  pid: number;
  dir: string;
  /** Seconds since 1970, by the clock of then. */
  startedAt: number;
  port: number;
  ready: boolean;
}

export function postmasterFileOf(dir: string): string {
  return join(dir, 'postmaster.pid');
}

/** `undefined` when there is none. A damaged one, as after a power cut, reads as pid 0. */
export async function readPostmasterFile(dir: string): Promise<PostmasterFile | undefined> {
  try {
    return parsePostmasterFile(await readFile(postmasterFileOf(dir), 'utf8'));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Lines: pid, data folder, start time, port, socket folder, listen address, shared memory, state. A starting server has written some of them. */
export function parsePostmasterFile(text: string): PostmasterFile {
  const [pid, dir, startedAt, port, , , , state] = text.split('\n').map((line) => line.trim());
  return {
    pid: natural(pid),
    dir: dir ?? '',
    startedAt: natural(startedAt),
    port: natural(port),
    ready: state === 'ready',
  };
}

function natural(text: string | undefined): number {
  return text && /^\d{1,15}$/.test(text) ? Number(text) : 0;
}
