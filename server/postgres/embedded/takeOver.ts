import { realpath, rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { LoftError } from '../../../contract/errors';
import type { DataFolder } from '../../dataFolder';
import type { PostgresBinaries } from './binaries';
import type { ClusterFile } from './clusterFile';
import { isElsewhere, thisMachine, type Machine } from './machine';
import { adoptPostmaster, stopPostmaster, type Postmaster } from './postmaster';
import { postmasterFileOf, readPostmasterFile, type PostmasterFile } from './postmasterFile';
import { hasEnded, isPostmaster, orphansIn, sendSignal } from './processes';
import { withSession } from './session';

const RECOVERY_TIMEOUT_MS = 60_000;
const POLL_MS = 50;
const ORPHAN_TIMEOUT_MS = 5_000;
const SESSION_END_TIMEOUT_MS = 5_000;

/** Both are the server's own words for when it started, one rounded. */
const START_TOLERANCE_SECONDS = 2;

/**
 * A Postgres that outlived its gateway: taken over when it is proven to be this folder's, takes our password and was started as
 * we would start it (`file.startedAs`); stopped otherwise. Afterwards nothing stands in the way of a new one. Only for the
 * holder of the folder's lock.
 */
export async function takeOver(
  folder: DataFolder,
  binaries: PostgresBinaries,
  file: ClusterFile,
  startedAs: string,
  log: (line: string) => void,
): Promise<Postmaster | undefined> {
  const dir = folder.postgresDir;
  const found = await readPostmasterFile(dir);
  if (!found) return undefined;
  if (!(await isPostmaster(found.pid, dir, found.startedAt))) {
    if (file.machine && isElsewhere(file.machine, await thisMachine())) throw runsElsewhere(folder, file.machine);
    log(
      `Postgres ended without order before: process ${found.pid} of ${postmasterFileOf(dir)} is not this folder's server.`,
    );
    await clearAfterCrash(dir);
    return undefined;
  }
  // One that a debugger or a laptop's manager stopped.
  if (process.platform !== 'win32') sendSignal(found.pid, 'SIGCONT');
  const refusal =
    file.startedAs === startedAs ? await refusalOf(dir, found, file) : 'it was started with other binaries or settings';
  if (refusal === undefined) {
    log(`Postgres was still running and is taken over (process ${found.pid}, port ${found.port}).`);
    return adoptPostmaster(found.pid, found.port);
  }
  log(`Postgres was still running (process ${found.pid}) and is stopped: ${refusal}.`);
  await stopPostmaster(binaries, found.pid);
  await clearAfterCrash(dir);
  return undefined;
}

function runsElsewhere({ dir, postgresDir }: DataFolder, machine: Machine): LoftError {
  return new LoftError(
    409,
    'data_folder_elsewhere',
    `Postgres of ${dir} was started on the machine "${machine.name}" and was not stopped in order, so it may run there still. Run "featureloft stop" there, or name another folder here with --data. If that machine is gone for good, delete ${postmasterFileOf(postgresDir)}.`,
  );
}

/** What a killed server leaves: its file, and processes that would keep a new one from starting. */
export async function clearAfterCrash(dir: string): Promise<void> {
  for (const pid of await orphansIn(dir)) {
    sendSignal(pid, 'SIGQUIT');
    if (await hasEnded(pid, ORPHAN_TIMEOUT_MS)) continue;
    sendSignal(pid, 'SIGKILL');
    await hasEnded(pid, ORPHAN_TIMEOUT_MS);
  }
  await rm(postmasterFileOf(dir), { force: true });
}

/** Why this server can't be taken over; `undefined` when it can. Its old sessions, whose gateway is gone, are ended. */
async function refusalOf(dir: string, found: PostmasterFile, file: ClusterFile): Promise<string | undefined> {
  if (!(await becomesReady(dir, found))) return 'it did not become ready';
  try {
    return await withSession({ ...file, port: found.port }, 'postgres', async (client) => {
      const answer = await client.query<{ dir: string; started: string }>(
        `SELECT current_setting('data_directory') AS dir, extract(epoch FROM pg_postmaster_start_time())::bigint::text AS started`,
      );
      const said = answer.rows[0];
      if (!said || (await realpath(said.dir)) !== (await realpath(dir)))
        return `port ${found.port} answers for another data folder`;
      if (Math.abs(Number(said.started) - found.startedAt) > START_TOLERANCE_SECONDS)
        return 'it was started at another time than its file says';
      await client.query(
        `SELECT pg_terminate_backend(pid, $1) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`,
        [SESSION_END_TIMEOUT_MS],
      );
      return undefined;
    });
  } catch (error) {
    return `it does not let us in (${(error as Error).message})`;
  }
}

async function becomesReady(dir: string, found: PostmasterFile): Promise<boolean> {
  const deadline = Date.now() + RECOVERY_TIMEOUT_MS;
  for (let now: PostmasterFile | undefined = found; now?.pid === found.pid; now = await readPostmasterFile(dir)) {
    if (now.ready) return true;
    if (Date.now() > deadline || !(await isPostmaster(found.pid, dir, found.startedAt))) return false;
    await delay(POLL_MS);
  }
  return false;
}
