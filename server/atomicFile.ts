import { randomBytes } from 'node:crypto';
import { link, mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { systemCode } from './fileErrors';

/** What a process that died half-way may leave behind begins so. */
export const UNFINISHED = '.unfinished-';

/** Replaces `file` (mode 0600): a reader, or the next start after a power cut, sees the old text or the new, never a part. */
export async function writeFileAtomically(file: string, text: string): Promise<void> {
  await withFinishedFile(file, text, (finished) => rename(finished, file));
  await syncFolder(dirname(file));
}

/** Creates `file` (mode 0600) unless there is one. Of two processes that try at once, exactly one is told `true`. */
export async function createFileAtomically(file: string, text: string): Promise<boolean> {
  try {
    await withFinishedFile(file, text, (finished) => link(finished, file));
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
  await syncFolder(dirname(file));
  return true;
}

async function withFinishedFile(file: string, text: string, use: (finished: string) => Promise<void>): Promise<void> {
  const finished = join(dirname(file), `${UNFINISHED}${basename(file)}-${randomBytes(6).toString('hex')}`);
  try {
    const handle = await open(finished, 'wx', 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await use(finished);
  } finally {
    await rm(finished, { force: true });
  }
}

/** Moves a whole file to its place and makes the folders on the way (0700); it is there after a power cut too. */
export async function placeFile(whole: string, file: string): Promise<void> {
  const handle = await open(whole, 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
  const made = await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await rename(whole, file);
  const topmost = made === undefined ? dirname(file) : dirname(made);
  for (let folder = dirname(file); folder.length >= topmost.length; folder = dirname(folder)) await syncFolder(folder);
}

/** A rename is durable once its folder is. Windows has no such call and needs none. */
export async function syncFolder(dir: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
