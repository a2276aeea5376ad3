// Child processes of the scripts: each in a process group of its own, so that a time-out or Ctrl-C ends all it started.
import { spawn, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SUPERVISOR = join(dirname(fileURLToPath(import.meta.url)), 'supervisor.mjs');
const WINDOWS = process.platform === 'win32';
/** What a process that ended may still have in its pipes is awaited this long: a grandchild can hold them open for ever. */
const DRAIN_MS = 500;
const KILL_AFTER_TERM_MS = 3_000;
const KEPT_OUTPUT = 100_000;
const running = new Set();

/**
 * Runs a command without a terminal's input, to its end or to its time-out.
 * `show` gets its output in pieces as it comes; the end of it is returned in any case.
 * Returns { code, timedOut, output, seconds } with a shell's codes: 127 for a command that cannot be started, 128 + n after
 * signal n; null when the whole group was killed.
 */
export function run(command, args, { cwd, env, timeoutMs = 0, show } = {}) {
  return new Promise((resolve) => {
    const started = Date.now();
    const child = spawn(process.execPath, [SUPERVISOR, command, ...args], {
      cwd,
      env: { ...process.env, ...env },
      detached: !WINDOWS,
      windowsHide: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    running.add(child);
    let output = '';
    let timedOut = false;
    const timer =
      timeoutMs > 0 &&
      setTimeout(() => {
        timedOut = true;
        signalGroup(child.pid, 'SIGTERM');
        lastTimer = setTimeout(() => signalGroup(child.pid, 'SIGKILL'), KILL_AFTER_TERM_MS);
      }, timeoutMs);
    let lastTimer;
    const collect = (chunk) => {
      output = (output + chunk).slice(-KEPT_OUTPUT);
      show?.(chunk);
    };
    child.stdout.setEncoding('utf8').on('data', collect);
    child.stderr.setEncoding('utf8').on('data', collect);
    let settled = false;
    const settle = (code) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      clearTimeout(lastTimer);
      if (timedOut) signalGroup(child.pid, 'SIGKILL');
      running.delete(child);
      if (child.connected) child.disconnect();
      child.stdout.destroy();
      child.stderr.destroy();
      if (!interrupted) resolve({ code, timedOut, output, seconds: (Date.now() - started) / 1000 });
    };
    child.on('close', (code) => settle(code));
    child.on('exit', (code) => setTimeout(() => settle(code), DRAIN_MS));
  });
}

function signalGroup(pid, signal) {
  if (pid === undefined) return;
  if (WINDOWS) {
    spawnSync('taskkill', ['/T', '/F', '/PID', String(pid)], { stdio: 'ignore' });
    return;
  }
  try {
    process.kill(-pid, signal);
  } catch {
    // The group is gone.
  }
}

/** Set by a signal: from then on no run ends, so that nobody takes a command's early end for its own failure. */
let interrupted = false;

for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 })) {
  process.on(signal, () => {
    if (interrupted) return;
    interrupted = true;
    process.stderr.write('\nInterrupted. The same command goes on from what is there.\n');
    endAll().then(() => process.exit(code));
  });
}

async function endAll() {
  for (const child of running) signalGroup(child.pid, 'SIGTERM');
  const deadline = performance.now() + KILL_AFTER_TERM_MS;
  while (running.size > 0 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50));
  for (const child of running) signalGroup(child.pid, 'SIGKILL');
}
