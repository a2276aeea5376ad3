import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { findGateway, readDiscovery } from '../../client/discovery';
import { isAlive, postmasterOf } from '../support/processes';
import { askPostgres } from '../support/postgres';
import { Chance } from './support/chance';
import { GATEWAY, GatewayProcess, newDataDir, serve, served, type Served } from './support/gatewayProcess';

const SEED = Number(process.env['LOFT_FAULT_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const asRoot = process.getuid?.() === 0;

describe('a start', function () {
  this.timeout(180_000);
  let dataDir: string;
  const running: Served[] = [];

  beforeEach(async () => {
    dataDir = await newDataDir();
  });
  afterEach(async () => {
    for (const one of running.splice(0)) await stop(one);
    await chmod(dataDir, 0o700);
    await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
  });

  async function start(args: string[] = []): Promise<Served> {
    const one = await serve(dataDir, args);
    running.push(one);
    return one;
  }

  it(`that was killed at any moment of the first is completed by the next (LOFT_FAULT_SEED=${SEED})`, async () => {
    const chance = new Chance(SEED);
    const moments = ['early', 'setting up', 'later', 'ready'] as const;
    for (const moment of moments) {
      const folder = await newDataDir();
      const killed = GatewayProcess.spawn(folder);
      // In the midst of initdb at least once; elsewhere wherever chance has it.
      if (moment === 'setting up') await until(() => killed.err.includes('Setting up Postgres'), killed);
      if (moment === 'later') await until(() => killed.err.includes('Bringing the database up to date'), killed);
      if (moment === 'ready') await until(() => killed.out !== '', killed);
      await delay(chance.between(0, moment === 'early' ? 300 : 400));
      await killed.end('SIGKILL');

      const next = await serve(folder);
      try {
        await works(next, folder);
        assert.deepEqual(
          (await readdir(folder)).filter((name) => name.includes('unfinished')),
          [],
          'nothing half made is left',
        );
      } finally {
        await stop(next);
        await rm(folder, { recursive: true, force: true, maxRetries: 5 });
      }
    }
  });

  it('finds the discovery file of a killed gateway, and gives its token to nobody', async () => {
    const first = await serve(dataDir);
    await works(first, dataDir);
    await first.process.end('SIGKILL');
    first.client.close();
    const stale = await readDiscovery(dataDir);
    assert.equal(stale?.pid, first.process.pid, 'the file is there');
    assert.equal(await findGateway(dataDir), undefined, 'and misleads nobody');

    // A stranger has taken its port, and even its process number seems alive.
    const heard: string[] = [];
    const stranger = createServer((request, response) => {
      heard.push(JSON.stringify(request.headers));
      response.setHeader('x-loft-proof', '0'.repeat(64)).end('{"status":"ok"}');
    });
    const port = await listenOn(stranger);
    const planted = { ...stale, pid: process.pid, url: `http://127.0.0.1:${port}` };
    await writeFile(join(dataDir, 'gateway.json'), JSON.stringify(planted), { mode: 0o600 });
    assert.equal(await findGateway(dataDir), undefined);
    assert.equal(heard.length, 1, 'it was asked for its proof');
    const second = await start();
    assert.ok(heard.every((headers) => !headers.includes(first.found.token) && !/authorization/i.test(headers)));
    assert.equal((await findGateway(dataDir))?.pid, second.process.pid);
    assert.equal(second.found.token, first.found.token);
    const read = await second.client.call('onlineGet', { body: { features: ['facts:n'], entities: { item: ['a'] } } });
    assert.deepEqual(read.columns['n']?.values, [1], 'what the first was told is there');
    await closeServer(stranger);
  });

  it('of four gateways at once on one folder makes one, and the others tell where it is', async () => {
    const all = Array.from({ length: 4 }, () => GatewayProcess.spawn(dataDir));
    await Promise.all(all.map((one) => until(() => one.out.includes('\n'), one, true)));
    const lines = new Set(all.map(({ out }) => out));
    assert.equal(lines.size, 1, [...lines].join(''));
    const { pid } = JSON.parse([...lines][0] ?? '') as { pid: number };
    const winner = all.find((one) => one.pid === pid);
    assert.ok(winner);
    for (const other of all.filter((one) => one !== winner)) {
      await other.ended;
      assert.equal(other.child.exitCode, 0, other.err);
    }
    running.push(await served(dataDir, winner));
    const postmasters = (await readFile(join(dataDir, 'logs', 'gateway.log'), 'utf8')).match(/is running \(process/g);
    assert.equal(postmasters?.length, 1, 'one Postgres was started');
  });

  it('on a port that is taken says so, and leaves nothing running', async () => {
    const other = createServer();
    const port = await listenOn(other);
    const refused = GatewayProcess.spawn(dataDir, ['--port', String(port)]);
    await refused.ended;
    await closeServer(other);
    assert.equal(refused.child.exitCode, 3, 'refused because of a conflict');
    assert.equal(refused.out, '');
    assertClear(refused.err, new RegExp(`port ${port}`, 'i'));
    const postmaster = await postmasterOf(dataDir);
    assert.ok(postmaster === undefined || !isAlive(postmaster), 'its Postgres has ended too');
    const now = await start(['--port', String(port)]);
    assert.equal(new URL(now.found.url).port, String(port));
  });

  it('in a folder that can’t be written says so, and the store is as it was', async function () {
    await works(await start(), dataDir);
    for (const one of running.splice(0)) await stop(one);
    const args = [GATEWAY, 'serve', '--data', dataDir];
    let refused: GatewayProcess;
    if (asRoot) {
      // Root may write anywhere but on a file system that is mounted to be read only; seen so by this process alone.
      const script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && shift && exec "$@"';
      const namespaces = ['--user', '--map-root-user', '--mount'];
      refused = GatewayProcess.run('unshare', [
        ...namespaces,
        ...['sh', '-c', script, dataDir, '--', process.execPath, ...args],
      ]);
    } else {
      await chmod(dataDir, 0o500);
      refused = GatewayProcess.run(process.execPath, args);
    }
    await refused.ended;
    if (/unshare: /.test(refused.err)) return this.skip();
    assert.equal(refused.child.exitCode, 1, refused.err);
    assertClear(refused.err, /read-only|may not be written/);
    assert.match(refused.err, /--data/, 'the way out');
    await chmod(dataDir, 0o700);
    const again = await start();
    const read = await again.client.call('onlineGet', { body: { features: ['facts:n'], entities: { item: ['a'] } } });
    assert.deepEqual(read.columns['n']?.values, [1]);
  });
});

/** A publish, a write, a read and a check of all files: the store is whole. */
async function works({ client }: Served, dataDir: string): Promise<void> {
  await client.call('publish', {
    body: {
      definitions: {
        entities: [{ name: 'item', keys: { item: 'string' } }],
        views: [{ name: 'facts', entity: 'item', features: { n: 'int64' } }],
      },
    },
  });
  const rows = [{ item: 'a', n: 1, event_timestamp: '2024-01-01T00:00:00Z' }];
  const wrote = await client.call('writeRows', { params: { view: 'facts' }, rows: { json: { rows } } });
  assert.equal(wrote.written, 1);
  const read = await client.call('onlineGet', { body: { features: ['facts:n'], entities: { item: ['a'] } } });
  assert.deepEqual(read.columns['n']?.values, [1]);
  const { checked, bad } = await client.call('verify', { body: {} });
  assert.deepEqual([checked, bad], [2, []], 'the rows’ file and the catalog');
  const [stored] = await askPostgres(dataDir, 'SELECT n FROM features."facts_v1"');
  assert.equal(stored?.['n'], '1');
}

async function stop({ process: gateway, client }: Served): Promise<void> {
  client.close();
  assert.equal(await gateway.end('SIGTERM'), 0, gateway.err);
}

/** What a user is told: words, and no stack. */
function assertClear(told: string, words: RegExp): void {
  const last = told.trim().split('\n').at(-1) ?? '';
  assert.match(last, words);
  assert.ok(!/^\s+at /m.test(told), `a stack trace: ${told}`);
}

async function until(condition: () => boolean, gateway: GatewayProcess, mayEnd = false): Promise<void> {
  const deadline = Date.now() + 120_000;
  while (!condition()) {
    assert.ok(Date.now() < deadline, `waited for too long: ${gateway.err}`);
    assert.ok(gateway.isRunning || mayEnd, `the gateway ended: ${gateway.err}`);
    await delay(5);
  }
}

async function listenOn(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
}
