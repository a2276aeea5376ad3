import { spawn } from 'node:child_process';
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  CHALLENGE_HEADER,
  Discovery,
  DISCOVERY_FILE,
  LOGS_FOLDER,
  PROOF_HEADER,
  ServeLine,
  START_LOG,
  TOKEN_FILE,
  TOKEN_PATTERN,
} from '../contract/discovery';
import { LoftError } from '../contract/errors';

/** A gateway that has proven to hold the token of its data folder. */
export interface FoundGateway {
  url: string;
  token: string;
  pid: number;
  version: string;
}

export interface StartOptions {
  /** The data folder. */
  dir: string;
  /** The bundled gateway, which understands `serve --data DIR`. */
  gatewayPath: string;
  /** The Node that runs it; the one that runs this by default, also when that is an editor's. */
  node?: string;
  /** Arguments after `serve --data DIR`. */
  args?: string[];
  /** Told each line that the gateway writes while it starts. */
  onProgress?: (line: string) => void;
  /** By default five minutes: after a crash, Postgres first replays its log. */
  timeoutMs?: number;
}

const PROOF_TIMEOUT_MS = 3_000;
const START_TIMEOUT_MS = 300_000;
const STOP_TIMEOUT_MS = 40_000;
const POLL_MS = 40;
const LOG_LINES_TOLD = 15;
const MAX_LOG_BYTES = 1024 * 1024;

/** Where the data folder is when nobody says: `FEATURELOFT_DATA`, else the platform's place for a program's data. */
export function defaultDataDir(
  env: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  if (env['FEATURELOFT_DATA']) return resolve(env['FEATURELOFT_DATA']);
  switch (platform) {
    case 'darwin':
      return join(homedir(), 'Library', 'Application Support', 'featureloft');
    case 'win32':
      return join(env['LOCALAPPDATA'] || join(homedir(), 'AppData', 'Local'), 'featureloft');
    default:
      return join(env['XDG_DATA_HOME'] || join(homedir(), '.local', 'share'), 'featureloft');
  }
}

/** What the data folder says about its gateway, unproven. `undefined` when it says nothing, or something that makes no sense. */
export async function readDiscovery(dir: string): Promise<Discovery | undefined> {
  const text = await readPrivateFile(join(dir, DISCOVERY_FILE));
  try {
    return text === undefined ? undefined : Discovery.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/**
 * Finds the running gateway of a data folder. The token stays here until the other side has proven that it holds it too, so
 * that a stranger on a stale port learns nothing. `undefined` when there is none: no file, a dead process, no or a wrong proof.
 */
export async function findGateway(dir: string): Promise<FoundGateway | undefined> {
  const discovery = await readDiscovery(dir);
  if (!discovery || !isAlive(discovery.pid)) return undefined;
  const token = await readToken(dir);
  if (token === undefined || !(await proves(discovery.url, token))) return undefined;
  return { url: discovery.url, token, pid: discovery.pid, version: discovery.version };
}

/** Finds the gateway of the data folder, or starts one. Windows that do so at once end up with the same one. */
export async function ensureGateway(options: StartOptions): Promise<FoundGateway> {
  return (await findGateway(options.dir)) ?? (await startGateway(options));
}

/**
 * Starts a gateway in a process group of its own, so that it outlives whoever started it, and waits for its one line. Its
 * output goes to `logs/serve.log`; the token goes nowhere: both sides read it from its file.
 */
export async function startGateway(options: StartOptions): Promise<FoundGateway> {
  const deadline = Date.now() + (options.timeoutMs ?? START_TIMEOUT_MS);
  const log = await openLog(options.dir);
  try {
    const child = spawn(
      options.node ?? process.execPath,
      [options.gatewayPath, 'serve', '--data', options.dir, ...(options.args ?? [])],
      {
        detached: true,
        windowsHide: true,
        stdio: ['ignore', log.handle.fd, log.handle.fd],
        env: process.versions['electron'] ? { ...process.env, ELECTRON_RUN_AS_NODE: '1' } : process.env,
      },
    );
    let ended: string | undefined;
    child.once('error', (error) => (ended = `could not be started: ${error.message}`));
    child.once('exit', (code, signal) => (ended ??= signal ? `was ended by ${signal}` : `ended with code ${code}`));
    child.unref();

    const lines: string[] = [];
    for (;;) {
      // Read after the state was looked at: what a process wrote before it ended is there by then.
      const over = ended;
      for (const line of await log.newLines()) {
        const served = serveLineOf(line);
        if (served) return await proveStarted(options.dir, served);
        lines.push(line);
        options.onProgress?.(line);
      }
      if (over !== undefined) throw startFailed(`The gateway ${over}.`, log.file, lines);
      if (Date.now() > deadline) {
        child.kill();
        throw startFailed('The gateway did not become ready in time and was ended.', log.file, lines);
      }
      await delay(POLL_MS);
    }
  } finally {
    await log.handle.close();
  }
}

/** Asks a found gateway to end in order, and waits until it has. */
export async function stopGateway(found: FoundGateway): Promise<void> {
  const deadline = Date.now() + STOP_TIMEOUT_MS;
  try {
    process.kill(found.pid, 'SIGTERM');
  } catch {
    return;
  }
  while (isAlive(found.pid)) {
    if (Date.now() > deadline) {
      throw new LoftError(
        503,
        'gateway_still_stopping',
        `The gateway (process ${found.pid}) was asked to stop and is still there after ${STOP_TIMEOUT_MS / 1_000} s.`,
      );
    }
    await delay(POLL_MS);
  }
}

/** A gateway that prints its line has proven nothing yet, and a `serve` that found the lock taken prints another one's line. */
async function proveStarted(dir: string, served: ServeLine): Promise<FoundGateway> {
  const token = await readToken(dir);
  if (token !== undefined && (await proves(served.url, token))) {
    return { url: served.url, token, pid: served.pid, version: served.version };
  }
  throw new LoftError(
    503,
    'gateway_not_answering',
    `Process ${served.pid} holds the data folder ${dir} but does not answer on ${served.url}. End that process and try again.`,
  );
}

function startFailed(what: string, file: string, lines: string[]): LoftError {
  const tail = lines.slice(-LOG_LINES_TOLD).join('\n');
  return new LoftError(
    503,
    'gateway_start_failed',
    `${what} ${tail ? `Its last lines, from ${file}:\n${tail}` : `It wrote nothing to ${file}.`}`,
  );
}

function serveLineOf(line: string): ServeLine | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return ServeLine.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

const reasons: Record<string, string> = {
  EACCES: 'this account may not write there',
  EPERM: 'this account may not write there',
  EROFS: 'it is on a read-only file system',
  EEXIST: 'it is a file',
  ENOTDIR: 'a part of its path is a file',
  ENOSPC: 'the disk is full',
};

async function openLogFile(folder: string, file: string): Promise<FileHandle> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return open(file, 'a+', 0o600);
}

/** The log is a file, not a pipe: the gateway goes on writing after this process has ended. */
async function openLog(dir: string): Promise<{ file: string; handle: FileHandle; newLines(): Promise<string[]> }> {
  const folder = join(dir, LOGS_FOLDER);
  const file = join(folder, START_LOG);
  const handle = await openLogFile(folder, file).catch((error: NodeJS.ErrnoException) => {
    throw new LoftError(
      500,
      'data_folder_forbidden',
      `${dir} can't be used as the data folder: ${reasons[error.code ?? ''] ?? error.message}. Name another one with --data or FEATURELOFT_DATA.`,
      { cause: error },
    );
  });
  let position = (await handle.stat()).size;
  if (position > MAX_LOG_BYTES) {
    await handle.truncate(0);
    position = 0;
  }
  let rest = Buffer.alloc(0);
  return {
    file,
    handle,
    async newLines() {
      for (;;) {
        const { bytesRead, buffer } = await handle.read(Buffer.alloc(65_536), 0, 65_536, position);
        if (bytesRead === 0) break;
        position += bytesRead;
        rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
      }
      const end = rest.lastIndexOf('\n') + 1;
      const whole = rest.toString('utf8', 0, end);
      rest = rest.subarray(end);
      return whole.split(/\r?\n/).filter((line) => line !== '');
    },
  };
}

/** Whether what listens at the URL holds this token too. The token itself is not sent. */
export async function proves(url: string, token: string): Promise<boolean> {
  const challenge = randomBytes(32).toString('hex');
  let answer: string | null;
  try {
    const response = await fetch(new URL('/v1/health', url), {
      headers: { [CHALLENGE_HEADER]: challenge },
      redirect: 'error',
      signal: AbortSignal.timeout(PROOF_TIMEOUT_MS),
    });
    answer = response.headers.get(PROOF_HEADER);
    await response.body?.cancel();
  } catch {
    return false;
  }
  const expected = Buffer.from(createHmac('sha256', token).update(challenge).digest('hex'));
  const found = Buffer.from(answer ?? '');
  return found.length === expected.length && timingSafeEqual(found, expected);
}

async function readToken(dir: string): Promise<string | undefined> {
  const token = (await readPrivateFile(join(dir, TOKEN_FILE)))?.trim();
  return token !== undefined && TOKEN_PATTERN.test(token) ? token : undefined;
}

const MAX_FILE_BYTES = 65_536;

/** `undefined` when there is no such file. One that another account owns or can read is refused: it may have been planted or read. */
async function readPrivateFile(file: string): Promise<string | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(file, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new LoftError(
      403,
      'discovery_refused',
      `${file} could not be read (${code}). It must be a plain file of your own account.`,
      { cause: error },
    );
  }
  try {
    const found = await handle.stat();
    if (process.platform !== 'win32' && (found.uid !== process.getuid?.() || (found.mode & 0o077) !== 0)) {
      throw new LoftError(
        403,
        'discovery_refused',
        `${file} has owner ${found.uid} and mode ${(found.mode & 0o777).toString(8)}; expected your own account and 600. Another account may have written or read it: delete it and start again.`,
      );
    }
    return found.isFile() && found.size <= MAX_FILE_BYTES ? await handle.readFile('utf8') : undefined;
  } finally {
    await handle.close();
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // Not ours to signal is not ours at all: a gateway runs as the owner of its data folder.
    return false;
  }
}
