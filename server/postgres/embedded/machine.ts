import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';

/** Where a server was started. */
export interface Machine {
  name: string;
  /** The kernel's id of this run, the same in all containers of a machine; empty where there is none. */
  boot: string;
}

export async function thisMachine(): Promise<Machine> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '');
  return { name: hostname(), boot: boot.trim() };
}

/**
 * Whether a server started on `there` may still run where it can't be seen from `here`: a home folder shared by several machines
 * is common, and two servers on one cluster destroy it. The same name after a reboot is the same machine.
 */
export function isElsewhere(there: Machine, here: Machine): boolean {
  return there.boot !== '' && here.boot !== '' && there.boot !== here.boot && there.name !== here.name;
}
