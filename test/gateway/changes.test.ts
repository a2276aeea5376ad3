import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { ChangeFeed, type ChangeFeedOptions } from '../../server/changes/changeFeed';
import { appendChange, readChanges, type LoggedChange } from '../../server/changes/changeLog';
import { inTransaction } from '../../server/postgres/transaction';
import { RegistryCache } from '../../server/registry/cache';
import { publish } from '../../server/registry/publish';
import { SearchIndex } from '../../server/search/searchIndex';
import { weather, weatherWith } from '../unit/registry/published';
import { freshDatabase, type TestDatabase } from './support/postgres';

describe('the change feed', () => {
  let database: TestDatabase;
  const feeds: ChangeFeed[] = [];
  beforeEach(async () => {
    database = await freshDatabase();
  });
  afterEach(async () => {
    await Promise.all(feeds.splice(0).map((feed) => feed.stop()));
    await database.drop();
  });

  async function follow(options: Partial<ChangeFeedOptions> = {}) {
    const { db, connection } = database;
    const cache = new RegistryCache(db);
    const feed = new ChangeFeed({ db, connection, beforeNews: () => cache.reload(), ...options });
    const heard: (LoggedChange | 'resync')[] = [];
    await feed.start();
    feeds.push(feed);
    feed.subscribe((news) => heard.push(...(news === 'resync' ? [news] : news)));
    return { feed, cache, heard };
  }
  const send = (ttl: string) => publish(database.db, { definitions: weatherWith({ ttl }) }, 'test');
  const positions = (heard: (LoggedChange | 'resync')[]) =>
    heard.map((news) => (news === 'resync' ? news : news.position));
  async function eventually(met: () => boolean, withinMs = 5_000): Promise<void> {
    for (const until = Date.now() + withinMs; Date.now() < until; await delay(10)) if (met()) return;
    assert.fail(`not so within ${withinMs} ms`);
  }
  const listeners = async (): Promise<string[]> =>
    (
      await database.db.query<{ pid: string }>(
        `SELECT pid FROM pg_stat_activity WHERE application_name = 'featureloft changes' AND datname = current_database()`,
      )
    ).rows.map(({ pid }) => pid);

  it('tells what was published, by anybody, within moments and after the registry was loaded', async () => {
    const { heard, cache, feed } = await follow({ pollMs: 60_000 });
    const index = new SearchIndex(cache);
    let loadedFirst = false;
    feed.subscribe(() => {
      loadedFirst = cache.current().registryVersion === 1 && index.size === 2;
    });
    const started = Date.now();
    await publish(database.db, { definitions: weather }, 'another gateway');
    await eventually(() => heard.length === 1);
    assert.ok(Date.now() - started < 1_000);
    assert.ok(loadedFirst);
    assert.deepEqual(heard, [
      {
        position: 1,
        event: {
          registryVersion: 1,
          changes: [
            { kind: 'entity', name: 'airport', action: 'create' },
            { kind: 'view', name: 'weather', version: 1, action: 'create' },
            { kind: 'service', name: 'delay', action: 'create' },
          ],
        },
      },
    ]);
    assert.equal(feed.position, 1);
  });

  it('starts from now, and replays from any position that was', async () => {
    await publish(database.db, { definitions: weather }, 'test');
    const { heard, feed } = await follow();
    await send('1h');
    await send('2h');
    await eventually(() => heard.length === 2);
    assert.deepEqual(positions(heard), [2, 3]);
    const replayed = await feed.since(0);
    assert.deepEqual(replayed === 'resync' ? replayed : positions(replayed), [1, 2, 3]);
    assert.deepEqual(await feed.since(3), []);
    assert.equal(await feed.since(4), 'resync');
    await database.db.query('DELETE FROM registry.changes WHERE position = 1');
    assert.equal(await feed.since(0), 'resync');
    assert.deepEqual(await readChanges(database.db, 1, 1), [(replayed as LoggedChange[])[1]]);
  });

  it('knows its own publish as soon as it is asked to', async () => {
    const { feed, heard, cache } = await follow({ pollMs: 60_000 });
    for (let n = 1; n <= 30; n++) {
      await send(`${n}h`);
      await feed.catchUp();
      assert.equal(feed.position, n);
      assert.equal(heard.length, n);
      assert.equal(cache.current().registryVersion, n);
    }
  });

  it('loses and doubles nothing while connections are cut at random', async function () {
    this.timeout(60_000);
    const lines: string[] = [];
    const { heard, feed } = await follow({ pollMs: 60_000, log: (line) => lines.push(line) });
    let cuts = 0;
    for (let n = 1; n <= 60; n++) {
      await send(`${n}h`);
      if (Math.random() < 0.3)
        for (const pid of await listeners()) {
          await database.db.query('SELECT pg_terminate_backend($1)', [pid]);
          cuts++;
        }
    }
    await eventually(() => heard.length >= 60, 20_000);
    assert.deepEqual(
      positions(heard),
      Array.from({ length: 60 }, (_, n) => n + 1),
    );
    assert.equal(feed.position, 60);
    assert.ok(cuts > 0 && lines.length > 0);
  });

  it('hears by its timer when no bell rings', async () => {
    const { heard, feed } = await follow({ pollMs: 50 });
    for (const pid of await listeners()) await database.db.query('SELECT pg_terminate_backend($1)', [pid]);
    await inTransaction(database.db, async (client) => {
      await client.query(`UPDATE registry.head SET change_position = 1`);
      await client.query(`INSERT INTO registry.changes (position, registry_version, data) VALUES (1, 1, $1)`, [
        JSON.stringify({ registryVersion: 1, changes: [] }),
      ]);
    });
    await eventually(() => heard.length === 1, 1_000);
    await eventually(() => feed.connected);
  });

  it('asks followers to start anew when the log was cut, or the database is an older one', async () => {
    const { heard, feed } = await follow({ pollMs: 20 });
    await send('1h');
    await eventually(() => heard.length === 1);
    await database.db.query('DELETE FROM registry.changes; UPDATE registry.head SET change_position = 0');
    await eventually(() => heard.length === 2);
    assert.deepEqual(positions(heard), [1, 'resync']);
    assert.equal(feed.position, 0);
    await inTransaction(database.db, (client) => appendChange(client, { registryVersion: 1, changes: [] }));
    await eventually(() => heard.length === 3);
    assert.deepEqual(positions(heard), [1, 'resync', 1]);
  });

  it('one follower that fails does not deafen the others', async () => {
    const { feed, heard } = await follow();
    feed.subscribe(() => {
      throw new Error('on purpose');
    });
    let after = 0;
    const stop = feed.subscribe(() => after++);
    await send('1h');
    await feed.catchUp();
    stop();
    await send('2h');
    await feed.catchUp();
    assert.deepEqual([heard.length, after], [2, 1]);
  });
});
