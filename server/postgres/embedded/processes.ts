import { execFile } from 'node:child_process';
import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const POLL_MS = 20;
const PS_TIMEOUT_MS = 10_000;

/** Clocks are read to the second, and a process starts before it writes when it did. */
const START_TOLERANCE_SECONDS = 3;

/** Whether it exists and has not ended: one that its parent never collected only looks alive. */
export async function isRunning(pid: number): Promise<boolean> {
  if (!mayExist(pid)) return false;
  if (process.platform !== 'linux') return true;
  const state = /^\d+ \(.*\) (\S)/s.exec(await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => ''))?.[1];
  return state !== undefined && state !== 'Z' && state !== 'X';
}

/** `false` when it is still there after `timeoutMs`. */
export async function hasEnded(pid: number, timeoutMs: number): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (await isRunning(pid)) {
    if (Date.now() > deadline) return false;
    await delay(POLL_MS);
  }
  return true;
}

export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended by itself.
  }
}

/**
 * Whether `pid` is the postmaster that wrote its file in `dir`, not a later process under the same number. On Linux the kernel
 * says which program it is and in which folder it works, whatever the clock did since; elsewhere the start time decides.
 */
export async function isPostmaster(pid: number, dir: string, startedAt: number): Promise<boolean> {
  if (!(await isRunning(pid))) return false;
  switch (process.platform) {
    case 'linux':
      return worksAsPostgresIn(pid, await realpath(dir));
    case 'win32':
      // Nothing of the system's tells cheaply: its answer on the port decides.
      return true;
    default:
      return wasStartedAsPostgresAt(pid, startedAt);
  }
}

/** What a killed postmaster leaves running: they end by themselves once they look, and until then a new one refuses to start. */
export async function orphansIn(dir: string): Promise<number[]> {
  if (process.platform !== 'linux') return [];
  const real = await realpath(dir);
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (/^\d+$/.test(name) && (await worksAsPostgresIn(Number(name), real))) found.push(Number(name));
  }
  return found;
}

async function worksAsPostgresIn(pid: number, dir: string): Promise<boolean> {
  try {
    return (
      (await readlink(`/proc/${pid}/cwd`)) === dir &&
      (await readFile(`/proc/${pid}/comm`, 'utf8')).trim() === 'postgres'
    );
  } catch {
    return false;
  }
}

/** By `ps`, which knows both on macOS and on Linux. */
export async function wasStartedAsPostgresAt(pid: number, startedAt: number): Promise<boolean> {
  try {
    const { stdout } = await promisify(execFile)('ps', ['-o', 'lstart=', '-o', 'comm=', '-p', String(pid)], {
      env: { ...process.env, LC_ALL: 'C' },
      timeout: PS_TIMEOUT_MS,
    });
    const [, date, command] = /^(\S+ +\S+ +\S+ +\S+ +\S+) +(.+)$/.exec(stdout.trim()) ?? [];
    const seconds = Date.parse(date ?? '') / 1_000;
    return basename(command ?? '') === 'postgres' && Math.abs(seconds - startedAt) <= START_TOLERANCE_SECONDS;
  } catch {
    return false;
  }
}

function mayExist(pid: number): boolean {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
