import { emptyTmp, openDataFolder } from '../../../../server/dataFolder';
import { acquireLock } from '../../../../server/lock';
import { startCluster } from '../../../../server/postgres/embedded/cluster';

// `clusterHolder DIR`: what a gateway does with its Postgres, and nothing else. Says each line of its log as it comes and where
// Postgres is once it runs; "stop" stops it.
async function main([dir = '']: string[]): Promise<void> {
  const say = (what: object) => console.log(JSON.stringify(what));
  try {
    const folder = await openDataFolder(dir);
    if (!(await acquireLock(folder.dir))) throw new Error('The data folder is locked.');
    await emptyTmp(folder);
    const cluster = await startCluster(folder, (log) => say({ log }));
    say({ running: { pid: cluster.pid, ...cluster.connectionOptions } });
    process.stdin.on('data', () => {
      void cluster.stop().then(() => {
        say({ stopped: true });
        process.exit(0);
      });
    });
  } catch (error) {
    say({ failed: String(error) });
    process.exit(1);
  }
}

void main(process.argv.slice(2));
