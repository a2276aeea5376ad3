import { readFile } from 'node:fs/promises';
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
