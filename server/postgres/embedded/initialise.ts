import { spawn } from 'node:child_process';
import { chown, mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { LoftError } from '../../../contract/errors';
import { syncFolder } from '../../atomicFile';
import type { DataFolder } from '../../dataFolder';
import { systemCode } from '../../fileErrors';
import type { PostgresAccount } from './account';
import { binary, type PostgresBinaries } from './binaries';
import { USER } from './clusterFile';
import { postgresEnvironment } from './environment';
import { openServerLog, startError } from './serverLog';

const INITDB_TIMEOUT_MS = 120_000;

/** What an initialisation that was killed leaves behind begins so. */
const UNFINISHED_CLUSTER = 'postgres.unfinished-';

/** The major version that made the cluster; `undefined` when there is no cluster yet. */
export async function clusterVersion(folder: DataFolder): Promise<number | undefined> {
  const file = join(folder.postgresDir, 'PG_VERSION');
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
    await removeIfEmpty(folder.postgresDir);
    return undefined;
  }
  const major = Number.parseInt(text, 10);
  if (Number.isSafeInteger(major)) return major;
  throw new LoftError(
    503,
    'postgres_damaged',
    `${file} does not hold a version. Restore the data folder from a backup.`,
  );
}

async function removeIfEmpty(dir: string): Promise<void> {
  try {
    await rmdir(dir);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    if (systemCode(error) !== 'ENOTEMPTY') throw error;
    throw new LoftError(
      503,
      'postgres_damaged',
      `${dir} holds files but no PG_VERSION, so it is not a whole cluster. Restore it from a backup, or move it away.`,
    );
  }
}

/** Makes the cluster in a folder beside its place and moves it there when it is whole, so that a kill leaves all or nothing. */
export async function initialiseCluster(
  folder: DataFolder,
  binaries: PostgresBinaries,
  account: PostgresAccount,
  password: string,
): Promise<void> {
  const work = join(folder.dir, UNFINISHED_CLUSTER + randomBytes(4).toString('hex'));
  const cluster = join(work, 'cluster');
  const passwordFile = join(work, 'password');
  try {
    await mkdir(work, { mode: 0o700 });
    await mkdir(cluster, { mode: 0o700 });
    await writeFile(passwordFile, password + '\n', { mode: 0o600 });
    if (account.owner) {
      for (const path of [passwordFile, cluster, work]) await chown(path, account.owner.uid, account.owner.gid);
    }
    await runInitdb(folder, account, binary(binaries, 'initdb'), [
      ...['-D', cluster, '--username', USER, '--pwfile', passwordFile],
      ...['--auth=scram-sha-256', '--encoding=UTF8', '--locale=C', '--data-checksums', '--no-instructions'],
    ]);
    await rename(cluster, folder.postgresDir);
    await syncFolder(folder.dir);
  } finally {
    await rm(work, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Only for the holder of the lock. An `initdb` that outlived its gateway then fails, and what it still wrote goes at the next start. */
export async function removeUnfinishedClusters(folder: DataFolder): Promise<void> {
  for (const name of await readdir(folder.dir)) {
    if (!name.startsWith(UNFINISHED_CLUSTER)) continue;
    await rm(join(folder.dir, name), { recursive: true, force: true, maxRetries: 3 }).catch(() => undefined);
  }
}

async function runInitdb(folder: DataFolder, account: PostgresAccount, program: string, args: string[]): Promise<void> {
  const log = await openServerLog(folder);
  try {
    const command = account.command(program, args);
    const ended = await new Promise<string>((done) => {
      const child = spawn(command.file, command.args, {
        env: postgresEnvironment(),
        stdio: ['ignore', log.handle.fd, log.handle.fd],
        timeout: INITDB_TIMEOUT_MS,
        windowsHide: true,
      });
      child.once('error', (error) => done(error.message));
      child.once('exit', (code, signal) => done(code === 0 ? '' : `it ended with ${signal ?? `code ${code}`}`));
    });
    if (ended !== '')
      throw startError(`The embedded Postgres could not be set up: ${ended}.`, await log.tail(), log.file);
  } finally {
    await log.handle.close();
  }
}
