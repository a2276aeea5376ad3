import { execFile, spawn } from 'node:child_process';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { LoftError } from '../../../contract/errors';
import type { DataFolder } from '../../dataFolder';
import type { PostgresAccount } from './account';
import { binary, type PostgresBinaries } from './binaries';
import { HOST } from './clusterFile';
import { postgresEnvironment } from './environment';
import { readPostmasterFile } from './postmasterFile';
import { hasEnded, isRunning, sendSignal } from './processes';
import { openServerLog, startError } from './serverLog';
import { serverArguments } from './settings';

/** A server that listens on `port`. */
export interface Postmaster {
  pid: number;
  port: number;
  /** Resolves once it has ended, for whatever reason. */
  ended: Promise<void>;
}

export interface PostmasterPlan {
  folder: DataFolder;
  binaries: PostgresBinaries;
  account: PostgresAccount;
  /** Ends a start that is under way. */
  signal?: AbortSignal;
}

/** Replaying the log after a crash takes its time. */
const START_TIMEOUT_MS = 300_000;
const FAST_STOP_TIMEOUT_MS = 20_000;
const IMMEDIATE_STOP_TIMEOUT_MS = 5_000;
const READY_POLL_MS = 15;
const ENDED_POLL_MS = 500;
const PORT_ATTEMPTS = 5;

/**
 * Starts the server on `wantedPort`, or on any free one when that is 0 or (unless `portIsFixed`) taken. It is in a session of its
 * own: it outlives this process, and Ctrl-C in a terminal does not reach it.
 */
export async function startPostmaster(
  plan: PostmasterPlan,
  wantedPort: number,
  portIsFixed = false,
): Promise<Postmaster> {
  for (let attempt = 1; ; attempt++) {
    const port = portIsFixed ? wantedPort : await freePort(attempt === 1 ? wantedPort : 0);
    const outcome = await tryPort(plan, port);
    if (outcome !== 'port taken') return outcome;
    if (portIsFixed || attempt === PORT_ATTEMPTS) {
      throw new LoftError(
        503,
        'postgres_port_taken',
        `The embedded Postgres found port ${port} taken by another program.`,
      );
    }
  }
}

/** `wanted` if it can be had (0 is any), else another. It may be gone a moment later. */
async function freePort(wanted: number): Promise<number> {
  const server = createServer();
  try {
    return await new Promise<number>((done, failed) => {
      server.once('error', failed);
      server.listen({ host: HOST, port: wanted, exclusive: true }, () => done((server.address() as AddressInfo).port));
    });
  } catch (error) {
    if (wanted === 0) throw error;
    return freePort(0);
  } finally {
    await new Promise((done) => server.close(done));
  }
}

async function tryPort(
  { folder, binaries, account, signal }: PostmasterPlan,
  port: number,
): Promise<Postmaster | 'port taken'> {
  const log = await openServerLog(folder);
  try {
    const { file, args } = account.command(binary(binaries, 'postgres'), serverArguments(folder.postgresDir, port));
    const child = spawn(file, args, {
      cwd: folder.dir,
      env: postgresEnvironment(),
      detached: true,
      stdio: ['ignore', log.handle.fd, log.handle.fd],
      windowsHide: true,
    });
    let failure: string | undefined;
    const ended = new Promise<void>((done) => {
      const end = (how: string) => {
        failure ??= how;
        done();
      };
      child.once('error', (error) => end(error.message));
      child.once('exit', (code, by) => end(`it ended with ${by ?? `code ${code}`}`));
    });
    child.unref();
    const deadline = Date.now() + START_TIMEOUT_MS;
    for (;;) {
      if (failure !== undefined) {
        const tail = await log.tail();
        if (/could not bind IPv4 address|could not create any TCP\/IP sockets/.test(tail)) return 'port taken';
        throw startError(`The embedded Postgres did not start: ${failure}.`, tail, log.file);
      }
      const state = await readPostmasterFile(folder.postgresDir);
      if (child.pid !== undefined && state?.pid === child.pid && state.ready) return { pid: child.pid, port, ended };
      if (Date.now() > deadline) {
        if (child.pid !== undefined) await stopPostmaster(binaries, child.pid);
        throw startError(
          `The embedded Postgres was not ready after ${START_TIMEOUT_MS / 1_000} s.`,
          await log.tail(),
          log.file,
        );
      }
      if (signal?.aborted) {
        if (child.pid !== undefined) await stopPostmaster(binaries, child.pid);
        signal.throwIfAborted();
      }
      await Promise.race([ended, delay(READY_POLL_MS)]);
    }
  } finally {
    await log.handle.close();
  }
}

/** A server that another process started: its end is seen by looking. */
export function adoptPostmaster(pid: number, port: number): Postmaster {
  const ended = (async () => {
    while (await isRunning(pid)) await delay(ENDED_POLL_MS, undefined, { ref: false });
  })();
  return { pid, port, ended };
}

/** Rolls back what is open and writes all down; if that takes too long, stops as in a power cut, which loses nothing either. */
export async function stopPostmaster(binaries: PostgresBinaries, pid: number): Promise<void> {
  const stages = [
    ['INT', FAST_STOP_TIMEOUT_MS],
    ['QUIT', IMMEDIATE_STOP_TIMEOUT_MS],
    ['KILL', IMMEDIATE_STOP_TIMEOUT_MS],
  ] as const;
  for (const [signal, timeoutMs] of stages) {
    await signalPostmaster(binaries, pid, signal);
    if (await hasEnded(pid, timeoutMs)) return;
  }
}

/** Windows has no signals: Postgres listens for them on a pipe that pg_ctl knows. */
async function signalPostmaster(
  binaries: PostgresBinaries,
  pid: number,
  signal: 'INT' | 'QUIT' | 'KILL',
): Promise<void> {
  if (process.platform !== 'win32') return sendSignal(pid, `SIG${signal}`);
  await promisify(execFile)(binary(binaries, 'pg_ctl'), ['kill', signal, String(pid)], {
    env: postgresEnvironment(),
  }).catch(() => undefined);
}
