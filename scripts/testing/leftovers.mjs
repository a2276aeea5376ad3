// What a suite started and left: detached gateways and their Postgres are in no process group of ours, but work in its folder.
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

const GRACE_MS = 2_000;

/**
 * Ends the processes (Linux) that stand in `folder` or got it as their temporary folder; returns their command lines.
 * Those that are about to end by themselves get two seconds.
 */
export async function endLeftovers(folder) {
  if (!existsSync('/proc/self/environ')) return [];
  if (processesOf(folder).length === 0) return [];
  await new Promise((resolve) => setTimeout(resolve, GRACE_MS));
  const left = processesOf(folder);
  for (const { pid } of left) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }
  return left.map(({ pid, command }) => `${pid} ${command}`);
}

function processesOf(folder) {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((pid) => ({ pid: Number(pid), ...lookAt(pid) }))
    .filter(({ cwd, environment }) => cwd.startsWith(folder) || environment.includes(`TMPDIR=${folder}`));
}

function lookAt(pid) {
  const look = (read) => {
    try {
      return read();
    } catch {
      return '';
    }
  };
  return {
    cwd: look(() => readlinkSync(`/proc/${pid}/cwd`)),
    environment: look(() => readFileSync(`/proc/${pid}/environ`, 'latin1')),
    command: look(() => readFileSync(`/proc/${pid}/cmdline`, 'latin1'))
      .replaceAll('\0', ' ')
      .slice(0, 120),
  };
}
