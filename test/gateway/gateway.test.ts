import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, rm, stat } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { followChanges } from '../../client/changeStream';
import { findGateway } from '../../client/discovery';
import { setTimeout as delay } from 'node:timers/promises';
import type { OnlineAnswer } from '../../contract/api';
import { LoftError } from '../../contract/errors';
import { newDataDir, spawnGateway, startOwnGateway, untilOffline } from './support/gateway';

const definitions = {
  entities: [{ name: 'item', keys: { item: 'string' } }],
  views: [{ name: 'facts', entity: 'item', features: { n: 'int64' } }],
};

describe('the gateway as a process', function () {
  this.timeout(180_000);
  let dataDir: string;
  beforeEach(async () => (dataDir = await newDataDir()));
  afterEach(() => rm(dataDir, { recursive: true, force: true }));

  it('keeps what it answered through SIGKILL, and the next one takes its Postgres over', async () => {
    const first = await spawnGateway(dataDir);
    await first.client.call('publish', { body: { definitions } });
    for (let n = 1; n <= 5; n++) {
      await first.client.call('writeRows', {
        params: { view: 'facts' },
        rows: { json: { rows: [{ item: `i${n}`, n, event_timestamp: '2024-01-01T00:00:00Z' }] } },
      });
    }
    assert.equal(await first.end('SIGKILL'), null);

    const second = await spawnGateway(dataDir);
    assert.notEqual(second.line.pid, first.line.pid);
    assert.equal(second.token, first.token);
    const read = await second.client.call('onlineGet', {
      body: { features: ['facts:n'], entities: { item: ['i1', 'i2', 'i3', 'i4', 'i5', 'i6'] } },
    });
    assert.deepEqual(read.columns['n']?.values, [1, 2, 3, 4, 5, null]);
    const page = await second.client.call('registry');
    assert.ok(page.items.some((item) => item.kind === 'view' && item.view.name === 'facts'));
    assert.equal(await second.end('SIGTERM'), 0);
    assert.equal(existsSync(join(dataDir, 'gateway.json')), false);
    assert.equal(existsSync(join(dataDir, 'postgres', 'postmaster.pid')), false, 'Postgres has ended too');
  });

  it('is one for each data folder: of two started at once, both print the same line', async () => {
    const [one, two] = await Promise.all([spawnGateway(dataDir), spawnGateway(dataDir)]);
    assert.deepEqual(one.line, two.line);
    const first = one.line.pid === one.child.pid ? one : two;
    const other = first === one ? two : one;
    assert.equal(first.line.pid, first.child.pid);
    assert.equal(await other.ended, 0);
    const found = await findGateway(dataDir);
    assert.equal(found?.url, first.line.url);
    assert.equal(await first.end(), 0);
    assert.equal(await findGateway(dataDir), undefined);
  });

  it('keeps its secrets to its owner', async () => {
    const { gateway, client } = await startOwnGateway({ dataDir });
    try {
      assert.equal((await stat(dataDir)).mode & 0o777, 0o700);
      for (const file of ['gateway.json', 'token', 'postgres.json', 'logs/gateway.log'])
        assert.equal((await stat(join(dataDir, file))).mode & 0o077, 0, file);
      const discovery = await readFile(join(dataDir, 'gateway.json'), 'utf8');
      assert.ok(!discovery.includes(gateway.token));
    } finally {
      client.close();
      await gateway.close();
    }
  });

  it('ends within seconds though a client follows its changes and another is silent', async () => {
    const { gateway, client } = await startOwnGateway({ dataDir });
    const stream = await client.events('changes', {});
    const silent = connect(Number(new URL(gateway.url).port), '127.0.0.1');
    await once(silent, 'connect');
    const started = Date.now();
    await Promise.all([gateway.close(), once(stream.resume(), 'close')]);
    assert.ok(Date.now() - started < 8_000, `${Date.now() - started} ms`);
    silent.destroy();
    client.close();
    await assert.rejects(client.call('health'), (error) => error instanceof LoftError && error.code === 'gateway_away');
  });

  it('says which port is taken, and closes again what it had opened', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((done) => taken.once('listening', done));
    const { port } = taken.address() as { port: number };
    await assert.rejects(
      startOwnGateway({ dataDir, port }),
      (error) => error instanceof LoftError && error.code === 'port_taken' && error.detail.includes(String(port)),
    );
    taken.close();
    assert.equal(existsSync(join(dataDir, 'postgres', 'postmaster.pid')), false);
    const { gateway, client } = await startOwnGateway({ dataDir });
    client.close();
    await gateway.close();
  });

  it('answers 503 while its Postgres is away, and reads again once it is back, without a restart', async () => {
    const { gateway, client } = await startOwnGateway({ dataDir });
    try {
      await client.call('publish', { body: { definitions } });
      const rows = { json: { rows: [{ item: 'a', n: 1, event_timestamp: '2024-01-01T00:00:00Z' }] } };
      await client.call('writeRows', { params: { view: 'facts' }, rows });
      const read = () => client.call('onlineGet', { body: { features: ['facts:n'], entities: { item: ['a'] } } });
      const pid = Number((await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n', 1)[0]);
      process.kill(pid, 'SIGKILL');
      const codes = new Set<string>();
      for (const until = Date.now() + 30_000; Date.now() < until; await delay(50)) {
        const answer = await read().catch((error: unknown) => error);
        if (!(answer instanceof LoftError)) {
          assert.deepEqual((answer as OnlineAnswer).columns['n']?.values, [1]);
          if (codes.size > 0) break;
          continue;
        }
        codes.add(`${answer.status} ${answer.code}`);
      }
      assert.deepEqual([...codes], ['503 online_store_away']);
      assert.equal((await client.call('health')).stores?.online.state, 'ok');
    } finally {
      client.close();
      await gateway.close();
    }
  });

  it('serves everything else when the offline store can’t be opened, and says so there', async () => {
    const known = process.env['FEATURELOFT_EXTENSIONS'];
    process.env['FEATURELOFT_EXTENSIONS'] = dataDir;
    try {
      const { gateway, client } = await startOwnGateway({ dataDir });
      await client.call('publish', { body: { definitions } });
      await assert.rejects(
        client.call('uploadDataset', { params: { name: 'rows' }, rows: { text: 'a\n1\n', type: 'text/csv' } }),
        (error) => error instanceof LoftError && [409, 503].includes(error.status),
      );
      const health = await client.call('health');
      assert.equal(health.status, 'degraded');
      assert.equal(health.stores?.offline.state, 'away');
      client.close();
      await gateway.close();
    } finally {
      if (known === undefined) delete process.env['FEATURELOFT_EXTENSIONS'];
      else process.env['FEATURELOFT_EXTENSIONS'] = known;
    }
  });

  it('shares a Postgres with another: values and publishes are seen at once, and the lake stays with the first', async () => {
    const other = await newDataDir();
    const first = await startOwnGateway({ dataDir });
    await untilOffline(first.client);
    const { user, port, database } = first.gateway.postgres;
    const { password } = JSON.parse(await readFile(join(dataDir, 'postgres.json'), 'utf8')) as { password: string };
    const postgres = `postgres://${user}:${password}@127.0.0.1:${port}/${database}`;
    const second = await startOwnGateway({ dataDir: other, postgres });
    const stop = new AbortController();
    try {
      const seen: string[] = [];
      const following = (async () => {
        for await (const one of followChanges(second.client, { signal: stop.signal })) {
          if (one.kind === 'change') seen.push(...one.change.changes.map(({ kind, name }) => `${kind} ${name}`));
          else seen.push(one.kind);
        }
      })();
      while (seen.length === 0) await delay(10);
      await first.client.call('publish', { body: { definitions } });
      const rows = { json: { rows: [{ item: 'a', n: 1, event_timestamp: '2024-01-01T00:00:00Z' }] } };
      // Without waiting for news of the publish: the statement itself finds out.
      assert.equal((await second.client.call('writeRows', { params: { view: 'facts' }, rows })).written, 1);
      const read = await first.client.call('onlineGet', { body: { features: ['facts:n'], entities: { item: ['a'] } } });
      assert.deepEqual(read.columns['n']?.values, [1]);
      const deadline = Date.now() + 1_000;
      while (!seen.includes('view facts') && Date.now() < deadline) await delay(10);
      assert.ok(seen.includes('view facts'), seen.join());
      assert.ok((await second.client.call('search', { query: { q: 'facts' } })).total > 0);
      await assert.rejects(
        second.client.call('uploadDataset', { params: { name: 'rows' }, rows: { text: 'a\n1\n', type: 'text/csv' } }),
        (error) => error instanceof LoftError && error.code === 'lake_elsewhere',
      );
      assert.equal((await second.client.call('health')).stores?.offline.state, 'lake_elsewhere');
      const log = await readFile(join(other, 'logs', 'gateway.log'), 'utf8');
      assert.ok(!log.includes(password));
      stop.abort();
      await following;
    } finally {
      stop.abort();
      for (const { client, gateway } of [second, first]) {
        client.close();
        await gateway.close();
      }
      await rm(other, { recursive: true, force: true });
    }
  });

  it('says so when its Postgres can’t be reached', async () => {
    await assert.rejects(
      startOwnGateway({ dataDir, postgres: 'postgres://nobody@127.0.0.1:1/none' }),
      (error) => error instanceof LoftError && error.code === 'online_store_away',
    );
  });
});
