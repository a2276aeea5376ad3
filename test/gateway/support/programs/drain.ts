// An offline store that drains until it is killed: `<data folder> <connection as JSON> <its name>`. Prints its worker's pid.
import { join } from 'node:path';
import { findExtension } from '../../../../server/offline/extensions';
import { OfflineStore } from '../../../../server/offline/offlineStore';
import { openPool, type ConnectionOptions } from '../../../../server/postgres/connect';
import { RegistryCache } from '../../../../server/registry/cache';

const [dir = '', connection = '', gateway = ''] = process.argv.slice(2);
const db = openPool(JSON.parse(connection) as ConnectionOptions, { max: 4 });
const store = new OfflineStore({
  db,
  registry: new RegistryCache(db),
  folder: { dir, lakeDir: join(dir, 'lake'), trainingDir: join(dir, 'training'), tmpDir: join(dir, 'tmp') },
  extension: findExtension('ducklake'),
  worker: {
    script: join(__dirname, '..', '..', '..', '..', 'server', 'offline', 'worker', 'main.ts'),
    execArgv: ['--import', 'tsx'],
  },
  gateway,
  log: { info: () => undefined, error: () => undefined, close: () => Promise.resolve() },
  memoryLimit: '1GB',
});
void store.start();
store.wakeDrain();
void store.requireLake().then(() => process.stdout.write(`${store.workerPid}\n`));
