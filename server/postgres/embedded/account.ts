import { execFile } from 'node:child_process';
import { chmod, chown, lchown, lstat, readdir, readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { LoftError } from '../../../contract/errors';
import { postgresEnvironment } from './environment';

/** A command and who runs it. */
export interface Invocation {
  file: string;
  args: string[];
  uid?: number;
  gid?: number;
}

/** Who Postgres runs as: it refuses root, and an account without a name. */
export interface PostgresAccount {
  run(program: string, args: string[]): Invocation;
  /** Who its files belong to; `undefined` is who we are. */
  owner?: { uid: number; gid: number };
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
}

const PROBE_TIMEOUT_MS = 10_000;

/** In this order: an account made for it, one made for Postgres, and the one that every system has. */
const fallbackAccounts = ['featureloft', 'postgres', 'nobody'];

/**
 * An ordinary account runs Postgres itself. Root does so in a user namespace, where it goes by another name and still owns the
 * files. Where namespaces are forbidden (many containers), root lends the cluster to another account, which must be able to
 * enter the data folder's parents and to run the binaries.
 */
export async function choosePostgresAccount(dataDir: string, postgres: string): Promise<PostgresAccount> {
  if (process.platform === 'win32' || hasOrdinaryName()) return { run: (file, args) => ({ file, args }) };
  const accounts = await readPasswd();
  const other = accounts.find(({ uid }) => uid !== 0);
  if (other) {
    const prefix = ['--user', `--map-user=${other.uid}`, `--map-group=${other.gid}`];
    if (await runs({ file: 'unshare', args: [...prefix, 'true'] })) {
      return { run: (file, args) => ({ file: 'unshare', args: [...prefix, file, ...args] }) };
    }
  }
  if (process.getuid?.() === 0) return lendTo(accounts, dataDir, postgres);
  throw new LoftError(
    503,
    'postgres_account',
    `This account (id ${process.getuid?.()}) has no name on this machine, which Postgres demands, and user namespaces are forbidden here. Add it to /etc/passwd, or use a server with --postgres.`,
  );
}

async function lendTo(accounts: PasswdEntry[], dataDir: string, postgres: string): Promise<PostgresAccount> {
  const refused: string[] = [];
  for (const wanted of fallbackAccounts) {
    const account = accounts.find(({ name }) => name === wanted);
    if (!account) continue;
    const owner = { uid: account.uid, gid: account.gid };
    // Others may pass through, and still list and read nothing: what stands inside is 0700 or 0600.
    await chmod(dataDir, 0o711);
    const enters = await runs({
      file: '/bin/sh',
      args: ['-c', 'cd "$0" && exec "$1" --version', dataDir, postgres],
      ...owner,
    });
    if (enters) return { owner, run: (file, args) => ({ file, args, ...owner }) };
    await chmod(dataDir, 0o700);
    refused.push(`"${wanted}" may not enter ${dataDir} or run ${postgres}`);
  }
  throw new LoftError(
    503,
    'postgres_account',
    `Postgres refuses to run as root, user namespaces are forbidden here, and no other account can be used (${refused.join('; ') || 'there is none'}). Run Feature Loft as an ordinary user, name a data folder that this account may enter with --data, or use a server with --postgres.`,
  );
}

/** Makes the cluster the account's own, after it was run in another way before. */
export async function giveTo(account: PostgresAccount, dir: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const owner = account.owner ?? { uid: 0, gid: 0 };
  if ((await lstat(dir)).uid === owner.uid) return;
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    await lchown(join(entry.parentPath, entry.name), owner.uid, owner.gid);
  }
  // Last, as it is what tells that all is done.
  await chown(dir, owner.uid, owner.gid);
}

function hasOrdinaryName(): boolean {
  if (process.getuid?.() === 0) return false;
  try {
    return userInfo().username !== '';
  } catch {
    return false;
  }
}

async function readPasswd(): Promise<PasswdEntry[]> {
  const text = await readFile('/etc/passwd', 'utf8').catch(() => '');
  return text.split('\n').flatMap((line) => {
    const [name, , uid, gid] = line.split(':');
    return name && uid && gid ? [{ name, uid: Number(uid), gid: Number(gid) }] : [];
  });
}

async function runs({ file, args, uid, gid }: Invocation): Promise<boolean> {
  const who = uid === undefined || gid === undefined ? {} : { uid, gid };
  try {
    await promisify(execFile)(file, args, { env: postgresEnvironment(), timeout: PROBE_TIMEOUT_MS, cwd: '/', ...who });
    return true;
  } catch {
    return false;
  }
}
