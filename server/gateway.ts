import { hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import { LoftError } from '../contract/errors';
import { ChangeFeed } from './changes/changeFeed';
import { Closers } from './closers';
import { emptyTmp, openDataFolder, type DataFolder } from './dataFolder';
import { removeDiscovery, writeDiscovery } from './discoveryFile';
import { createGuard } from './http/guard';
import { hotRoute } from './http/hotRoute';
import { createHttpServer } from './http/httpServer';
import { JobTokens } from './http/jobTokens';
import { createApp } from './http/router';
import { changeRoutes } from './http/routes/changes';
import { healthRoutes } from './http/routes/health';
import { jobRoutes } from './http/routes/jobs';
import { offlineRoutes } from './http/routes/offline';
import { onlineRoutes } from './http/routes/online';
import { registryRoutes } from './http/routes/registry';
import { JobStore } from './jobs/jobStore';
import { TrainingJobs } from './jobs/trainingJobs';
import { acquireLock } from './lock';
import { openLog, type Log, type RedactedLog } from './log';
import { openOfflineStore } from './offline/offlineStore';
import { openReadPool } from './online/readPool';
import { openPool, type ConnectionOptions } from './postgres/connect';
import { startCluster } from './postgres/embedded/cluster';
import { migrate } from './postgres/migrations/migrate';
import { RegistryCache } from './registry/cache';
import { SearchIndex } from './search/searchIndex';
import { VERSION } from './version';

export interface GatewayOptions {
  dataDir: string;
  /** A loopback address. */
  host: string;
  /** 0: any free one. */
  port: number;
  /** URL of a Postgres elsewhere; without it, the data folder has its own. */
  postgres?: string;
  /** Runs training jobs. */
  python: string;
  /** Told what the start is busy with, a line each. */
  onProgress?: (line: string) => void;
  /** Ends a start that is under way. */
  signal?: AbortSignal;
}

export interface RunningGateway {
  readonly url: string;
  readonly token: string;
  readonly tokenFile: string;
  readonly pid: number;
  readonly version: string;
  readonly folder: DataFolder;
  readonly log: Log;
  /** How Postgres is reached; for tests and tools that look at it directly. */
  readonly postgres: ConnectionOptions;
  /** Finishes what is under way and closes everything, in reverse order. Never rejects. */
  close(): Promise<void>;
}

const POOL_CONNECTIONS = 12;
const READ_CONNECTIONS = 4;
const HTTP_DRAIN_MS = 10_000;

/**
 * Opens all parts of a gateway, in the order in which each needs the ones before it. What fails at any point closes what was
 * opened. Throws LoftError 409 `gateway_runs` when another process holds the data folder.
 */
export async function startGateway(options: GatewayOptions): Promise<RunningGateway> {
  const closers = new Closers();
  let log: RedactedLog | undefined;
  try {
    const folder = await openDataFolder(options.dataDir);
    const lock = await acquireLock(folder.dir);
    if (!lock) {
      throw new LoftError(409, 'gateway_runs', `Another gateway holds the data folder ${folder.dir}.`);
    }
    closers.add('lock', () => lock.release());
    await emptyTmp(folder);
    const opened = openLog(join(folder.logsDir, 'gateway.log'));
    for (const secret of [folder.token, ...passwordsOf(options.postgres)]) opened.hide(secret);
    log = opened;
    // After everything that may still have something to say.
    closers.add('log', () => opened.close());
    opened.info('starting', { version: VERSION, pid: process.pid, node: process.version });
    const running = await open(options, folder, opened, closers);
    opened.info('ready', { url: running.url });
    return running;
  } catch (error) {
    if (!(error instanceof LoftError && error.code === 'gateway_runs')) log?.error('start failed', error);
    await closers.closeAll(undefined);
    throw error;
  }
}

async function open(
  options: GatewayOptions,
  folder: DataFolder,
  log: RedactedLog,
  closers: Closers,
): Promise<RunningGateway> {
  const step = (line: string): void => {
    options.signal?.throwIfAborted();
    options.onProgress?.(line);
  };
  /** This data folder's gateway, the same after a restart: who runs a job, who wrote a chunk. */
  const name = `${userInfo().username}@${hostname()}:${folder.dir}`;

  const connection = await connect(options, folder, log, closers, step);
  const db = openPool(connection, { max: POOL_CONNECTIONS, applicationName: 'featureloft' });
  closers.add('connections', () => db.end());
  step('Bringing the database up to date');
  const { applied } = await migrate(db);
  if (applied.length > 0) log.info('migrated', { applied: applied.join(',') });
  const reads = openReadPool(connection, { max: READ_CONNECTIONS, applicationName: 'featureloft reads' });
  closers.add('read connections', () => reads.end());

  step('Loading the registry');
  const registry = new RegistryCache(db);
  await registry.reload();
  const search = new SearchIndex(registry);
  const changes = new ChangeFeed({
    db,
    connection,
    beforeNews: () => registry.reload(),
    log: (line) => log.info('changes', { line }),
  });
  await changes.start();
  closers.add('change feed', () => changes.stop());

  step('Opening the offline store');
  let url = '';
  const workerLog = openLog(join(folder.logsDir, 'worker.log'));
  workerLog.hide(folder.token);
  closers.add('worker log', () => workerLog.close());
  const offline = openOfflineStore({ db, registry, folder, log: workerLog, name, url: () => url || null });
  closers.add('offline store', () => offline.stop());
  await offline.start();

  const tokens = new JobTokens();
  const jobs = new TrainingJobs({
    store: new JobStore(db, name),
    offline,
    tokens,
    jobsDir: folder.jobsDir,
    python: options.python,
    url: () => url,
    log,
  });
  await jobs.recover();
  closers.add('jobs', () => jobs.stop());

  step('Starting to answer');
  const closing = new AbortController();
  const hosts = new Set<string>();
  const parts = { db, reads, registry, search, changes, offline, jobs, closing: closing.signal, gateway: name };
  const handlers = {
    ...healthRoutes({
      ...parts,
      token: folder.token,
      embedded: options.postgres === undefined,
      searchSize: () => search.size,
    }),
    ...registryRoutes(parts),
    ...onlineRoutes({ ...parts, tmpDir: folder.tmpDir }),
    ...changeRoutes(parts),
    ...offlineRoutes(offline),
    ...jobRoutes(parts),
  };
  const server = createHttpServer({
    guard: createGuard({ token: folder.token, jobTokens: tokens, hosts: () => hosts }),
    app: createApp(handlers, log),
    hotRoutes: [hotRoute('onlineGet', handlers, log)],
  });
  const port = await server.listen(options.host, options.port);
  closers.add('http', () => {
    closing.abort();
    return server.close(HTTP_DRAIN_MS);
  });
  for (const host of ['127.0.0.1', 'localhost', '[::1]']) hosts.add(`${host}:${port}`);
  url = `http://${options.host.includes(':') ? `[${options.host}]` : options.host}:${port}`;

  const line = { url, tokenFile: folder.tokenFile, pid: process.pid, version: VERSION };
  await writeDiscovery(folder, { ...line, startedAt: new Date().toISOString() });
  closers.add('discovery', () => removeDiscovery(folder, process.pid));
  options.signal?.throwIfAborted();

  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closed ??= (async () => {
      log.info('closing');
      await closers.closeAll(log);
    })();
    return closed;
  };
  return { ...line, token: folder.token, folder, log, postgres: connection, close };
}

async function connect(
  options: GatewayOptions,
  folder: DataFolder,
  log: RedactedLog,
  closers: Closers,
  step: (line: string) => void,
): Promise<ConnectionOptions> {
  if (options.postgres !== undefined) {
    step('Connecting to Postgres');
    return { connectionString: options.postgres };
  }
  step('Starting Postgres');
  const cluster = await startCluster(
    folder,
    (line) => {
      log.info('postgres', { line });
      options.onProgress?.(line);
    },
    options.signal ? { signal: options.signal } : {},
  );
  closers.add('Postgres', () => cluster.stop());
  log.hide(cluster.connectionOptions.password);
  return cluster.connectionOptions;
}

function passwordsOf(url: string | undefined): string[] {
  if (url === undefined || !URL.canParse(url)) return [];
  const { password } = new URL(url);
  return password === '' ? [] : [password, decodeURIComponent(password)];
}
