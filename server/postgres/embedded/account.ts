import { execFile } from 'node:child_process';
import { chown, lchown, lstat, readdir, readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { LoftError } from '../../../contract/errors';
import { postgresEnvironment } from './environment';

/** Who Postgres runs as: it refuses root, and an account without a name. */
export interface PostgresAccount {
  /** The command that runs `program` as this account; it becomes that program, under the same process id. */
  command(program: string, args: string[]): { file: string; args: string[] };
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
const borrowable = ['featureloft', 'postgres', 'nobody'];

/**
 * An ordinary account runs Postgres itself. Root does so in a user namespace, where it goes by another name and still owns the
 * files. Where namespaces are forbidden (many containers), it borrows another account's name and keeps only the right to pass
 * through folders such as /root; the cluster then belongs to that account.
 */
export async function choosePostgresAccount(): Promise<PostgresAccount> {
  if (process.platform === 'win32' || hasOrdinaryName()) return { command: (file, args) => ({ file, args }) };
  const accounts = await readPasswd();
  const other = accounts.find(({ uid }) => uid !== 0);
  if (other) {
    const prefix = ['--user', `--map-user=${other.uid}`, `--map-group=${other.gid}`];
    if (await runs('unshare', prefix)) return under('unshare', prefix);
  }
  for (const name of borrowable) {
    const lender = accounts.find((account) => account.name === name);
    if (!lender) continue;
    const { uid, gid } = lender;
    const prefix = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--no-new-privs'];
    const rights = ['--inh-caps=+dac_override', '--ambient-caps=+dac_override'];
    if (await runs('setpriv', [...prefix, ...rights]))
      return { ...under('setpriv', [...prefix, ...rights]), owner: { uid, gid } };
  }
  const who = process.getuid?.() === 0 ? 'as root' : `as an account without a name (id ${process.getuid?.()})`;
  throw new LoftError(
    503,
    'postgres_account',
    `Postgres refuses to run ${who}, and neither a user namespace (unshare) nor another account (setpriv) is to be had here. Run Feature Loft as an ordinary user, or use a server with --postgres.`,
  );
}

function under(file: string, prefix: string[]): PostgresAccount {
  return { command: (program, args) => ({ file, args: [...prefix, program, ...args] }) };
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

async function runs(file: string, prefix: string[]): Promise<boolean> {
  try {
    await promisify(execFile)(file, [...prefix, 'true'], { env: postgresEnvironment(), timeout: PROBE_TIMEOUT_MS });
    return true;
  } catch {
    return false;
  }
}
