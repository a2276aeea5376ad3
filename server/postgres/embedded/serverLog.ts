import { open, rename, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { LoftError } from '../../../contract/errors';
import type { DataFolder } from '../../dataFolder';

const MAX_LOG_BYTES = 10 * 1024 * 1024;
const TOLD_LINES = 12;
const TOLD_BYTES = 16_384;

/** `logs/postgres.log`, as one start of the server sees it. */
export interface ServerLog {
  file: string;
  /** For the server's output. */
  handle: FileHandle;
  /** The last lines since this start. */
  tail(): Promise<string>;
}

/** A large log makes way for a new one; one older is kept. */
export async function openServerLog(folder: DataFolder): Promise<ServerLog> {
  const file = join(folder.logsDir, 'postgres.log');
  const size = (await stat(file).catch(() => undefined))?.size ?? 0;
  if (size > MAX_LOG_BYTES) await rename(file, `${file}.1`);
  const handle = await open(file, 'a', 0o600);
  const start = (await handle.stat()).size;
  return { file, handle, tail: () => tailOf(file, start) };
}

async function tailOf(file: string, start: number): Promise<string> {
  const handle = await open(file, 'r');
  try {
    const end = (await handle.stat()).size;
    const from = Math.max(start, end - TOLD_BYTES);
    const { buffer, bytesRead } = await handle.read(
      Buffer.alloc(Math.max(0, end - from)),
      0,
      Math.max(0, end - from),
      from,
    );
    return buffer.toString('utf8', 0, bytesRead).trim().split('\n').slice(-TOLD_LINES).join('\n');
  } finally {
    await handle.close();
  }
}

/** A failed start in plain words, with what Postgres said. */
export function startError(what: string, tail: string, logFile: string): LoftError {
  const cause = causes.find(([pattern]) => pattern.test(tail));
  const [, code, words] = cause ?? [undefined, 'postgres_start_failed', 'Its log may say why.'];
  return new LoftError(
    503,
    code,
    `${what} ${words} ${tail ? `The end of ${logFile}:\n${tail}` : `Its log is ${logFile}.`}`,
  );
}

const causes: [pattern: RegExp, code: string, words: string][] = [
  [
    /No space left on device|Disk quota exceeded/,
    'disk_full',
    'There is no space left on its disk: free some and try again.',
  ],
  [/Read-only file system/, 'data_folder_read_only', 'Its disk is read-only: name another folder with --data.'],
  [
    /Permission denied|wrong ownership|invalid permissions/,
    'data_folder_forbidden',
    'Files of the cluster may not be read or written by this account: restore their owner and mode.',
  ],
  [
    /is still in use|lock file .* already exists/,
    'postgres_in_use',
    'Another server still works on this data folder: end it and try again.',
  ],
  [
    /could not map anonymous shared memory|Cannot allocate memory/,
    'postgres_memory',
    'There is not enough memory for it: end other programs and try again.',
  ],
  [
    /incompatible with server|checksum|could not locate a valid checkpoint|could not find redo location|is corrupted/,
    'postgres_damaged',
    'Its files are damaged: restore the data folder from a backup.',
  ],
];
