import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const END_TIMEOUT_MS = 30_000;
const POLL_MS = 20;

/** Waits until a process has ended. */
export async function gone(pid: number): Promise<void> {
  const deadline = Date.now() + END_TIMEOUT_MS;
  while (isAlive(pid)) {
    if (Date.now() > deadline) throw new Error(`process ${pid} is still there after ${END_TIMEOUT_MS / 1_000} s`);
    await delay(POLL_MS);
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Resident memory of a process (Linux), in MiB. */
export async function residentMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1_024);
}

/** What a process has computed so far (Linux), in ms. Unlike the clock's time it says little about who else is busy. */
export async function cpuMs(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /s, '').split(' ');
  // utime and stime, in hundredths of a second
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** The gateway's offline worker (Linux), if it runs. */
export async function workerOf(gateway: number): Promise<number | undefined> {
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const [status, command] = await Promise.all([procFile(pid, 'status'), procFile(pid, 'cmdline')]);
    if (status.includes(`\nPPid:\t${gateway}\n`) && command.includes('worker.js')) return Number(pid);
  }
  return undefined;
}

function procFile(pid: string, name: string): Promise<string> {
  return readFile(join('/proc', pid, name), 'utf8').catch(() => '');
}

/** The data folder's own Postgres, if it has left word of itself. */
export async function postmasterOf(dataDir: string): Promise<number | undefined> {
  const text = await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8').catch(() => '');
  const pid = Number.parseInt(text, 10);
  return Number.isSafeInteger(pid) ? pid : undefined;
}
