import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { findExtension } from '../../../server/offline/extensions';
import { OfflineStore, type OfflineOptions } from '../../../server/offline/offlineStore';
import { Lake } from '../../../server/offline/worker/lake';
import { RegistryCache } from '../../../server/registry/cache';
import type { Log } from '../../../server/log';
import { freshDatabase, type TestDatabase } from './postgres';

export const WORKER = {
  script: join(__dirname, '..', '..', '..', 'server', 'offline', 'worker', 'main.ts'),
  execArgv: ['--import', 'tsx'],
};

export const silentLog: Log = { info: () => undefined, error: () => undefined, close: () => Promise.resolve() };

/** A folder of the shape of a data folder, gone after the test. */
export async function scratchFolder(): Promise<OfflineOptions['folder'] & { remove(): Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), 'loft-offline-'));
  const folder = { dir, lakeDir: join(dir, 'lake'), trainingDir: join(dir, 'training'), tmpDir: join(dir, 'tmp') };
  for (const child of [folder.lakeDir, folder.trainingDir, folder.tmpDir]) await mkdir(child);
  return { ...folder, remove: () => rm(dir, { recursive: true, force: true }) };
}

/** A lake opened in this very process: for what needs no worker and no Postgres. */
export function openLake(dataDir: string, threads = 2): Promise<Lake> {
  return Lake.open({
    dataDir,
    extension: findExtension('ducklake'),
    memoryLimit: '1GB',
    threads,
    lake: { catalog: join(dataDir, 'lake', 'catalog.ducklake'), dataPath: join(dataDir, 'lake', 'data') },
    create: true,
    newLakeId: randomUUID(),
  });
}

export interface TestStore {
  store: OfflineStore;
  registry: RegistryCache;
  database: TestDatabase;
  folder: OfflineOptions['folder'];
  /** Another gateway on the same folder and database, as after a restart. */
  again(change?: Partial<OfflineOptions>): OfflineStore;
  close(): Promise<void>;
}

/** An offline store on a database and a folder of its own. It drains once `start` is called. */
export async function openTestStore(change: Partial<OfflineOptions> = {}): Promise<TestStore> {
  const [database, folder] = await Promise.all([freshDatabase(), scratchFolder()]);
  const registry = new RegistryCache(database.db);
  await registry.reload();
  const open: OfflineStore[] = [];
  const again = (other: Partial<OfflineOptions> = {}): OfflineStore => {
    const store = new OfflineStore({
      db: database.db,
      registry,
      folder,
      extension: findExtension('ducklake'),
      worker: WORKER,
      gateway: `test ${open.length}`,
      log: silentLog,
      memoryLimit: '1GB',
      ...change,
      ...other,
    });
    open.push(store);
    return store;
  };
  return {
    store: again(),
    registry,
    database,
    folder,
    again,
    close: async () => {
      for (const store of open) await store.stop();
      await database.drop();
      await folder.remove();
    },
  };
}

export function textBody(text: string): Readable {
  return Readable.from([Buffer.from(text)]);
}
