import { createHash, randomBytes } from 'node:crypto';
import { rename, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { userInfo } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { systemCode } from './fileErrors';

/** Held by one process a data folder. The kernel frees it when that process ends, however it ends. */
export interface FolderLock {
  release(): Promise<void>;
}

/**
 * Takes the exclusive lock on a data folder, named by its real path; `undefined` when another process holds it. Node knows no
 * file lock, so it is a listening socket that only one process can own. It holds on one machine and in one network namespace.
 */
export async function acquireLock(realDir: string): Promise<FolderLock | undefined> {
  switch (process.platform) {
    case 'linux':
      return lockByName(`\0${abstractName(realDir)}`);
    case 'win32':
      return lockByName(String.raw`\\.\pipe\featureloft-${accountName()}-${hashOf(realDir).slice(0, 40)}`);
    default:
      // Not os.tmpdir(): TMPDIR differs between a desktop and an ssh session, and the lock would not be one.
      return acquireFileLock(`/tmp/featureloft-${accountName()}-${hashOf(realDir).slice(0, 40)}.sock`);
  }
}

/** All 107 bytes are used: Node 20 pads a shorter name with NUL bytes, Node 24 does not, and to the kernel these are two names. */
function abstractName(realDir: string): string {
  return `featureloft-${accountName()}-${hashOf(realDir)}`.padEnd(107, '-').slice(0, 107);
}

function accountName(): string {
  return String(process.getuid?.() ?? createHash('sha256').update(userInfo().username).digest('hex').slice(0, 12));
}

function hashOf(realDir: string): string {
  return createHash('sha256').update(realDir).digest('hex');
}

async function lockByName(name: string): Promise<FolderLock | undefined> {
  const server = await listen(name, '');
  return server && { release: () => close(server) };
}

/** How long another process may still be about to take back what it moved aside by mistake. */
const SETTLE_MS = 50;
const ASK_TIMEOUT_MS = 1_000;

/**
 * The same with a socket file, which outlives its owner. A stale one is moved aside and asked again there before it is removed:
 * of two processes that clear it at once, the slower may have moved the faster one's new socket, and puts it back. Whoever
 * bound the name therefore looks a moment later whether it still leads to its own socket.
 */
export async function acquireFileLock(file: string): Promise<FolderLock | undefined> {
  const nonce = randomBytes(8).toString('hex');
  for (let attempt = 0; attempt < 5; attempt++) {
    const server = await listen(file, nonce);
    if (server) {
      await delay(SETTLE_MS);
      if ((await ask(file)) === nonce) return { release: () => close(server) };
      await close(server);
      return undefined;
    }
    if ((await ask(file)) !== undefined) return undefined;
    await clearStale(file, `${file}.${nonce.slice(0, 4)}`);
  }
  return undefined;
}

async function clearStale(file: string, aside: string): Promise<void> {
  try {
    await rename(file, aside);
    if ((await ask(aside)) === undefined) await rm(aside, { force: true });
    else await rename(aside, file);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

/** Resolves to nothing when the name is taken. The socket does not keep the process alive, and tells who asks its nonce. */
function listen(path: string, nonce: string): Promise<Server | undefined> {
  return new Promise((done, failed) => {
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.end(nonce, () => socket.destroy());
    });
    server.once('error', (error) => (systemCode(error) === 'EADDRINUSE' ? done(undefined) : failed(error)));
    server.listen({ path }, () => done(server.unref()));
  });
}

/** The nonce of the process that holds the socket file; `undefined` when there is no such process. */
function ask(path: string): Promise<string | undefined> {
  return new Promise((done, failed) => {
    let answer = '';
    const socket = connect({ path });
    socket.setEncoding('utf8').on('data', (text: string) => (answer += text));
    socket.once('end', () => done(answer));
    // Stopped, but there: its kernel took the connection.
    socket.setTimeout(ASK_TIMEOUT_MS, () => socket.destroy() && done(answer));
    socket.once('error', (error) => {
      if (systemCode(error) === 'ECONNREFUSED' || systemCode(error) === 'ENOENT') done(undefined);
      else failed(error);
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((done) => server.close(() => done()));
}
