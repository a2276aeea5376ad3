import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { LoftError } from '../../../contract/errors';
import { openDataFolder, type DataFolder } from '../../dataFolder';
import { readOwnDiscovery } from '../../discoveryFile';
import { fileError } from '../../fileErrors';
import { acquireLock } from '../../lock';
import { choosePostgresAccount, giveTo } from './account';
import { findBinaries } from './binaries';
import {
  DATABASE,
  HOST,
  newClusterFile,
  readClusterFile,
  USER,
  writeClusterFile,
  type ClusterFile,
} from './clusterFile';
import { clusterVersion, initialiseCluster, removeUnfinishedClusters } from './initialise';
import { thisMachine } from './machine';
import { resetPassword } from './password';
import { startPostmaster, stopPostmaster, type Postmaster, type PostmasterPlan } from './postmaster';
import { readPostmasterFile } from './postmasterFile';
import { isPostmaster } from './processes';
import { ProvenClient } from './provenClient';
import { ensureDatabase, sqlState, WRONG_PASSWORD } from './session';
import { settingsText } from './settings';
import { clearAfterCrash, takeOver } from './takeOver';

/** The data folder's own Postgres, running. */
export interface EmbeddedPostgres {
  readonly connectionOptions: {
    host: string;
    port: number;
    user: string;
    password: string;
    database: string;
    /** For pools too: pg's own client would give the password to whoever listens on the port. */
    Client: typeof ProvenClient;
  };
  /** Of the postmaster that runs now. */
  readonly pid: number;
  /** Shuts down in order, at worst as in a power cut. Afterwards the data folder is at rest. */
  stop(): Promise<void>;
}

export interface ClusterOptions {
  /** Ends a start that is under way. */
  signal?: AbortSignal;
}

/**
 * Brings up the Postgres of a data folder: makes it if there is none, takes it over if it outlived its gateway. A server that
 * ends by itself is started again on the same port, until `stop`. Only for the holder of the folder's lock.
 */
export async function startCluster(
  folder: DataFolder,
  log: (line: string) => void,
  { signal }: ClusterOptions = {},
): Promise<EmbeddedPostgres> {
  try {
    await removeUnfinishedClusters(folder);
    const major = await clusterVersion(folder);
    const binaries = await findBinaries(major);
    const account = await choosePostgresAccount();
    const plan: PostmasterPlan = { folder, binaries, account, ...(signal ? { signal } : {}) };
    const startedAs = hashOf([binaries.dir, binaries.version, settingsText()]);

    const known = await readClusterFile(folder.postgresFile);
    let file = known ?? newClusterFile();
    // Before the cluster: one without a known password would be of no use.
    if (!known) await writeClusterFile(folder.postgresFile, file);
    if (major === undefined) {
      log(`Setting up Postgres ${binaries.version} in ${folder.postgresDir}.`);
      await initialiseCluster(folder, binaries, account, file.password);
    }

    let postmaster = await takeOver(folder, binaries, file, startedAs, log);
    if (!postmaster) {
      await giveTo(account, folder.postgresDir);
      if (!known && major !== undefined) {
        log(`${folder.postgresFile} was lost: Postgres is given a new password.`);
        await resetPassword(plan, file.password);
      }
      // Before the start: it must be known even if this process is killed right after.
      file = { ...file, machine: await thisMachine() };
      await writeClusterFile(folder.postgresFile, file);
      postmaster = await startPostmaster(plan, file.port);
      log(`Postgres ${binaries.version} is running (process ${postmaster.pid}, port ${postmaster.port}).`);
    }
    try {
      file = { ...file, port: postmaster.port, startedAs };
      await writeClusterFile(folder.postgresFile, file);
      postmaster = await openDatabase(plan, postmaster, file, log);
    } catch (error) {
      await stopPostmaster(binaries, postmaster.pid);
      throw error;
    }
    return new SupervisedCluster(plan, postmaster, file, log);
  } catch (error) {
    throw fileError(error, folder.dir);
  }
}

function hashOf(parts: string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** A `postgres.json` from elsewhere holds another password than the cluster: ours to set right, as the files are ours. */
async function openDatabase(
  plan: PostmasterPlan,
  postmaster: Postmaster,
  file: ClusterFile,
  log: (line: string) => void,
): Promise<Postmaster> {
  try {
    await ensureDatabase(file);
    return postmaster;
  } catch (error) {
    if (sqlState(error) !== WRONG_PASSWORD) throw error;
    await stopPostmaster(plan.binaries, postmaster.pid);
    log(`Postgres does not take the password of ${plan.folder.postgresFile} and is given it anew.`);
    await resetPassword(plan, file.password);
    const again = await startPostmaster(plan, file.port, true);
    await ensureDatabase(file);
    return again;
  }
}

/**
 * Stops a server that outlived its gateway, where no new gateway is wanted. `undefined` when there is none. Throws LoftError 503
 * `gateway_not_answering` while a gateway holds the folder.
 */
export async function stopLeftCluster(dir: string): Promise<{ pid: number } | undefined> {
  if (!existsSync(dir)) return undefined;
  const folder = await openDataFolder(dir);
  const lock = await acquireLock(folder.dir);
  if (!lock) {
    const pid = (await readOwnDiscovery(folder))?.pid;
    throw new LoftError(
      503,
      'gateway_not_answering',
      `A gateway holds the data folder ${folder.dir} but does not answer. It may be starting; else end its process${pid ? ` (${pid}, if it is still that one)` : ''}.`,
    );
  }
  try {
    const found = await readPostmasterFile(folder.postgresDir);
    if (!found || !(await isPostmaster(found.pid, folder.postgresDir, found.startedAt))) return undefined;
    await stopPostmaster(await findBinaries(await clusterVersion(folder)), found.pid);
    return { pid: found.pid };
  } finally {
    await lock.release();
  }
}

const FIRST_RESTART_DELAY_MS = 250;
const LAST_RESTART_DELAY_MS = 30_000;

class SupervisedCluster implements EmbeddedPostgres {
  readonly connectionOptions: EmbeddedPostgres['connectionOptions'];
  readonly #stopping = new AbortController();
  #postmaster: Postmaster;
  readonly #supervision: Promise<void>;

  constructor(
    private readonly plan: PostmasterPlan,
    postmaster: Postmaster,
    file: ClusterFile,
    private readonly log: (line: string) => void,
  ) {
    this.#postmaster = postmaster;
    this.connectionOptions = {
      ...{ host: HOST, port: file.port, user: USER, password: file.password, database: DATABASE },
      Client: ProvenClient,
    };
    this.#supervision = this.#supervise();
  }

  get pid(): number {
    return this.#postmaster.pid;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#supervision;
  }

  /** The only one that starts and stops after `startCluster`, so that no signal goes to a process that has ended. */
  async #supervise(): Promise<void> {
    const { signal } = this.#stopping;
    const stopAsked = new Promise<'stop'>((done) => signal.addEventListener('abort', () => done('stop')));
    for (;;) {
      const postmaster = this.#postmaster;
      if ((await Promise.race([postmaster.ended, stopAsked])) === 'stop') {
        await stopPostmaster(this.plan.binaries, postmaster.pid);
        return;
      }
      if (signal.aborted) return;
      this.log(`Postgres ended by itself (process ${postmaster.pid}) and is started again.`);
      if (!(await this.#restart())) return;
    }
  }

  /** Tries for as long as it takes: a full disk may be emptied, a taken port freed. `false` once it is to stop. */
  async #restart(): Promise<boolean> {
    const { folder } = this.plan;
    for (let waitMs = 0; ; waitMs = Math.min(Math.max(2 * waitMs, FIRST_RESTART_DELAY_MS), LAST_RESTART_DELAY_MS)) {
      try {
        await delay(waitMs, undefined, { signal: this.#stopping.signal });
        await clearAfterCrash(folder.postgresDir);
        const plan = { ...this.plan, signal: this.#stopping.signal };
        this.#postmaster = await startPostmaster(plan, this.connectionOptions.port, true);
        this.log(`Postgres is running again (process ${this.#postmaster.pid}, port ${this.#postmaster.port}).`);
        return true;
      } catch (error) {
        if (this.#stopping.signal.aborted) return false;
        this.log(`Postgres did not start again: ${(error as Error).message}`);
      }
    }
  }
}
