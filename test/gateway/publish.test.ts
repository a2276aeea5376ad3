import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import type { PlanAnswer } from '../../contract/api';
import type { LoftError } from '../../contract/errors';
import { RegistryCache } from '../../server/registry/cache';
import { loadRegistry } from '../../server/registry/load';
import { plan, publish, type PublishInput } from '../../server/registry/publish';
import { weather, weatherWith } from '../unit/registry/published';
import { freshDatabase, type TestDatabase } from './support/postgres';

describe('publish', () => {
  let database: TestDatabase;
  beforeEach(async () => {
    database = await freshDatabase();
  });
  afterEach(() => database.drop());

  const send = (input: PublishInput) => publish(database.db, input, 'test');
  /** Plans, then publishes with the plan's hash, as a client does. */
  const sendPlanned = async (input: PublishInput) => {
    const { planHash } = await plan(database.db, input);
    return send({ ...input, planHash });
  };
  const refused = async (attempt: Promise<unknown>, code: string): Promise<LoftError> => {
    let refusal: LoftError | undefined;
    await assert.rejects(attempt, (error: LoftError) => {
      assert.equal(error.code, code, String(error));
      refusal = error;
      return true;
    });
    return refusal as LoftError;
  };
  const rows = async (sql: string): Promise<unknown[]> =>
    (await database.db.query({ text: sql, rowMode: 'array' })).rows;
  const insert = (table: string) =>
    database.db.query(
      `INSERT INTO features.${table} (origin, event_timestamp, created_timestamp, write_seq) VALUES ('JFK', now(), now(), 1)`,
    );

  it('makes the tables, the registry rows, the log and the audit entry in one step', async () => {
    const answer = await send({ definitions: weather });
    assert.equal(answer.registryVersion, 1);
    assert.equal(answer.changes.length, 3);
    assert.deepEqual(
      await rows(`SELECT column_name, udt_name, is_nullable, collation_name FROM information_schema.columns
                   WHERE table_schema = 'features' AND table_name = 'weather_v1' ORDER BY ordinal_position`),
      [
        ['origin', 'text', 'NO', 'C'],
        ['temp', 'float8', 'YES', null],
        ['wind', 'float8', 'YES', null],
        ['event_timestamp', 'timestamptz', 'NO', null],
        ['created_timestamp', 'timestamptz', 'NO', null],
        ['write_seq', 'int8', 'NO', null],
      ],
    );
    const snapshot = await loadRegistry(database.db);
    assert.equal(snapshot.registryVersion, 1);
    assert.deepEqual(snapshot.services.get('delay')?.resolved, [{ view: 'weather', version: 1, feature: 'temp' }]);
    assert.equal(snapshot.views.get('weather')?.get(1)?.ttlSeconds, 10_800);
    assert.deepEqual(await rows('SELECT registry_version, change_position FROM registry.head'), [['1', '1']]);
    assert.deepEqual(await rows(`SELECT session_user_name = session_user, origin, what->>'did' FROM registry.audit`), [
      ['t', 'test', 'publish'],
    ]);
    assert.deepEqual(await rows(`SELECT position, data->'changes'->1->>'name' FROM registry.changes`), [
      ['1', 'weather'],
    ]);
  });

  it('changes nothing for what stands already', async () => {
    await send({ definitions: weather });
    assert.deepEqual(await send({ definitions: weather }), { registryVersion: 1, changes: [] });
    assert.deepEqual(await sendPlanned({ definitions: weather }), { registryVersion: 1, changes: [] });
    assert.deepEqual(await rows('SELECT count(*) FROM registry.audit'), [['1']]);
  });

  it('adds a column to the table that stands, with its rows', async () => {
    await send({ definitions: weather });
    await insert('weather_v1');
    await send({ definitions: weatherWith({ features: { temp: 'float64', wind: 'float64', gust: 'int32' } }) });
    assert.deepEqual(await rows('SELECT origin, gust FROM features.weather_v1'), [['JFK', null]]);
  });

  it('answers a plan hash that was applied with its first answer, also when the registry moved on', async () => {
    const input = { definitions: weather };
    const { planHash } = await plan(database.db, input);
    const first = await send({ ...input, planHash });
    assert.deepEqual(await send({ ...input, planHash }), first);
    await send({ definitions: weatherWith({ ttl: '1h' }) });
    assert.deepEqual(await send({ ...input, planHash }), first);
    assert.equal((await loadRegistry(database.db)).registryVersion, 2);
  });

  it('refuses a plan made before somebody else published, with the plan of now', async () => {
    const mine = { definitions: weatherWith({ ttl: '1h' }) };
    const { planHash, registryVersion } = await plan(database.db, mine);
    await send({ definitions: weather });
    for (const attempt of [
      { ...mine, planHash },
      { ...mine, planHash, registryVersion },
      { ...mine, registryVersion },
    ]) {
      const { extra } = await refused(send(attempt), 'registry_moved');
      assert.deepEqual(extra.plan, await plan(database.db, mine));
    }
    const now = (await plan(database.db, mine)) satisfies PlanAnswer;
    assert.equal((await send({ ...mine, ...now })).registryVersion, 2);
  });

  it('refuses definitions that the hash was not made for', async () => {
    const { planHash, registryVersion } = await plan(database.db, { definitions: weather });
    await refused(send({ definitions: weatherWith({ ttl: '1h' }), planHash, registryVersion }), 'plan_differs');
  });

  it('wants a plan hash for what breaks or removes, and carries the plan', async () => {
    await send({ definitions: weather });
    const breaking = { definitions: weatherWith({ features: { temp: 'float32', wind: 'float64' } }) };
    const { extra } = await refused(send(breaking), 'plan_required');
    assert.deepEqual(extra.plan, await plan(database.db, breaking));
    await refused(send({ definitions: {}, remove: ['service:delay'] }), 'plan_required');
  });

  it('makes the next version current at once while the one before holds no rows', async () => {
    await send({ definitions: weather });
    await sendPlanned({ definitions: weatherWith({ features: { temp: 'float32', wind: 'float64' } }) });
    const { views, services } = await loadRegistry(database.db);
    assert.deepEqual(
      [...(views.get('weather')?.values() ?? [])].map(({ version, current, table }) => [version, current, table]),
      [
        [1, false, 'weather_v1'],
        [2, true, 'weather_v2'],
      ],
    );
    assert.equal(services.get('delay')?.resolved[0]?.version, 1);
    await insert('weather_v1');
    await insert('weather_v2');
  });

  it('refuses to replace a version that holds rows, wherever they are', async () => {
    const breaking = { definitions: weatherWith({ features: { temp: 'float32', wind: 'float64' } }) };
    await send({ definitions: weather });
    for (const [fill, empty] of [
      [`INSERT INTO features.weather_v1 VALUES ('JFK', 1, 1, now(), now(), 1)`, 'DELETE FROM features.weather_v1'],
      [
        `INSERT INTO registry.outbox VALUES (1, 'weather', 1, '[]', 1, now(), now(), '', now(), 'g')`,
        'DELETE FROM registry.outbox',
      ],
      [`INSERT INTO registry.view_state VALUES ('weather', 1, 1)`, 'DELETE FROM registry.view_state'],
    ] as const) {
      await database.db.query(fill);
      const { detail } = await refused(sendPlanned(breaking), 'needs_staging');
      assert.match(detail, /weather \(version 1\) already holds rows/);
      await database.db.query(empty);
    }
    assert.equal((await sendPlanned(breaking)).registryVersion, 2);
  });

  it('refuses to remove what is used unless forced, and keeps the table in the trash', async () => {
    await send({ definitions: weather });
    await insert('weather_v1');
    await database.db.query(
      `INSERT INTO registry.training_sets VALUES ('delays', 1, 'x', '{}', '[{"view":"weather","version":1,"feature":"wind"}]')`,
    );
    const removal = { definitions: {}, remove: ['weather'] };
    const { detail, problems } = await refused(sendPlanned(removal), 'in_use');
    assert.match(detail, /view weather is used by service delay, training set delays\./);
    assert.equal(problems.length, 1);
    await sendPlanned({ ...removal, force: true });
    assert.deepEqual(await rows('SELECT origin FROM trash.weather_v1_2'), [['JFK']]);
    const { views, services } = await loadRegistry(database.db);
    assert.deepEqual([views.size, services.size], [0, 1]);
    // The next view of this name does not find the old one's history.
    const again = await sendPlanned({ definitions: { ...weather, services: [] } });
    assert.deepEqual(
      again.changes.map((change) => [change.kind, change.version]),
      [['view', 2]],
    );
  });

  it('leaves nothing of a publish that fails half-way', async () => {
    await database.db.query('CREATE TABLE features.planes_v1 (a int)');
    const both = {
      entities: weather.entities,
      views: [...weather.views, { name: 'planes', entity: 'airport', features: { age: 'int32' } }],
    };
    await assert.rejects(send({ definitions: both }), /already exists/);
    assert.deepEqual(await rows(`SELECT to_regclass('features.weather_v1'), registry_version FROM registry.head`), [
      [null, '0'],
    ]);
    assert.deepEqual(await rows('SELECT 1 FROM registry.entities UNION ALL SELECT 1 FROM registry.changes'), []);
  });

  it('lets one of two publishers at one registry version win', async () => {
    await send({ definitions: weather });
    const inputs = ['1h', '2h', '4h', '5h'].map((ttl) => ({ definitions: weatherWith({ ttl }) }));
    const plans = await Promise.all(inputs.map((input) => plan(database.db, input)));
    const answers = await Promise.allSettled(
      inputs.map((input, index) => send({ ...input, planHash: (plans[index] as PlanAnswer).planHash })),
    );
    const lost = answers.filter((answer) => answer.status === 'rejected');
    assert.deepEqual(
      lost.map(({ reason }) => (reason as LoftError).code),
      ['registry_moved', 'registry_moved', 'registry_moved'],
    );
    assert.equal((await loadRegistry(database.db)).registryVersion, 2);
  });

  it('numbers concurrent publishes without a gap', async () => {
    await send({ definitions: { entities: weather.entities } });
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        send({ definitions: { views: [{ name: `view${n}`, entity: 'airport', features: { a: 'int32' } }] } }),
      ),
    );
    assert.deepEqual(
      answers.map((answer) => answer.registryVersion).sort((a, b) => a - b),
      Array.from({ length: 20 }, (_, n) => n + 2),
    );
    assert.deepEqual(await rows('SELECT count(*), max(position) FROM registry.changes'), [['21', '21']]);
  });

  it('waits for a bulk load that ends in time, and lets readers pass meanwhile', async () => {
    await send({ definitions: weather });
    const load = await database.db.connect();
    await load.query('BEGIN');
    await load.query(`INSERT INTO features.weather_v1 VALUES ('JFK', 1, 1, now(), now(), 1)`);
    const publishing = send({
      definitions: weatherWith({ features: { temp: 'float64', wind: 'float64', x: 'bool' } }),
    });
    const started = Date.now();
    let slowest = 0;
    while (Date.now() - started < 1_200) {
      const before = Date.now();
      await database.db.query('SELECT * FROM features.weather_v1');
      slowest = Math.max(slowest, Date.now() - before);
      await delay(5);
    }
    await load.query('COMMIT');
    load.release();
    assert.equal((await publishing).registryVersion, 2);
    assert.ok(slowest < 500, `a reader waited ${slowest} ms`);
  });

  it('gives up with view_busy when the load takes longer', async function () {
    this.timeout(20_000);
    await send({ definitions: weather });
    const load = await database.db.connect();
    await load.query('BEGIN; LOCK TABLE features.weather_v1 IN ROW EXCLUSIVE MODE');
    const { retryAfterSeconds, status } = await refused(
      send({ definitions: weatherWith({ features: { temp: 'float64', wind: 'float64', x: 'bool' } }) }),
      'view_busy',
    );
    assert.deepEqual([status, retryAfterSeconds], [503, 5]);
    await load.query('ROLLBACK');
    load.release();
    assert.equal((await loadRegistry(database.db)).registryVersion, 1);
  });

  it('never loses a row that arrives while an empty version is replaced', async () => {
    await send({ definitions: weather });
    const breaking = { definitions: weatherWith({ features: { temp: 'float32', wind: 'float64' } }) };
    const { planHash } = await plan(database.db, breaking);
    // A writer whose statement compares the head, as every write does, and has not committed yet.
    const writer = await database.db.connect();
    const write = (client: { query(sql: string): Promise<{ rowCount: number | null }> }, version: number) =>
      client.query(`INSERT INTO features.weather_v1 (origin, event_timestamp, created_timestamp, write_seq)
                    SELECT 'JFK', now(), now(), 1 FROM registry.head WHERE registry_version = ${version}`);
    await writer.query('BEGIN');
    assert.equal((await write(writer, 1)).rowCount, 1);
    const refusal = refused(send({ ...breaking, planHash }), 'needs_staging');
    await delay(400);
    await writer.query('COMMIT');
    await refusal;

    // The other way round: the publisher has the lock, and the writer's row of the old version finds no head to match.
    await database.db.query('DELETE FROM features.weather_v1');
    const publisher = await database.db.connect();
    await publisher.query('BEGIN; LOCK TABLE features.weather_v1 IN SHARE ROW EXCLUSIVE MODE');
    const late = write(database.db, 1);
    await delay(100);
    await publisher.query('UPDATE registry.head SET registry_version = 2; COMMIT');
    publisher.release();
    assert.equal((await late).rowCount, 0);
    writer.release();
  });

  it('is applied once each, in one order, while connections are cut at random', async function () {
    this.timeout(60_000);
    const { db } = database;
    const publishers = [0, 1, 2, 3];
    const view = (publisher: number, ttl: string) => ({
      entities: [],
      views: [{ name: `view${publisher}`, entity: 'airport', ttl, features: { a: 'int32' } }],
    });
    await send({ definitions: { entities: weather.entities, views: publishers.flatMap((p) => view(p, '1s').views) } });
    let cuts = 0;
    const cutting = setInterval(() => {
      db.query<{ cut: string }>(
        `SELECT count(pg_terminate_backend(pid)) AS cut FROM
           (SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'
               AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1) busy`,
      ).then(
        ({ rows: [row] }) => (cuts += Number(row?.cut)),
        () => undefined,
      );
    }, 30);
    const away = (error: unknown): void => {
      if ((error as LoftError).code !== 'online_store_away') throw error;
    };
    const publishOne = async (definitions: object): Promise<number> => {
      for (;;) {
        const planned = await plan(db, { definitions }).catch(away);
        if (planned === undefined) continue;
        for (;;) {
          try {
            return (await send({ definitions, planHash: planned.planHash })).registryVersion;
          } catch (error) {
            // Sent again with the same hash: whether it was applied before the cut is Postgres' to say.
            if ((error as LoftError).code === 'registry_moved') break;
            away(error);
          }
        }
      }
    };
    const answered = await Promise.all(
      publishers.map(async (publisher) => {
        const versions: number[] = [];
        for (let n = 2; n <= 11; n++) versions.push(await publishOne(view(publisher, `${n}s`)));
        return versions;
      }),
    );
    clearInterval(cutting);
    await delay(50);
    const inOrder = answered.flat().sort((a, b) => a - b);
    assert.deepEqual(
      inOrder,
      Array.from({ length: 40 }, (_, n) => n + 2),
    );
    assert.deepEqual(await rows('SELECT registry_version, change_position FROM registry.head'), [['41', '41']]);
    assert.deepEqual(
      await rows(
        'SELECT count(*), count(DISTINCT registry_version), min(position), max(position) FROM registry.changes',
      ),
      [['41', '41', '1', '41']],
    );
    assert.deepEqual(await rows('SELECT count(*) FROM registry.audit'), [['41']]);
    for (const publisher of publishers)
      assert.equal((await loadRegistry(db)).views.get(`view${publisher}`)?.get(1)?.definition.ttl, '11s');
    assert.ok(cuts > 5, `only ${cuts} cuts`);
  });

  it('does not lose its place when Postgres cuts the connection', async () => {
    await send({ definitions: weather });
    const input = { definitions: weatherWith({ ttl: '7h' }) };
    const { planHash } = await plan(database.db, input);
    const blocker = await database.db.connect();
    await blocker.query('BEGIN; SELECT 1 FROM registry.head FOR UPDATE');
    const refusal = refused(send({ ...input, planHash }), 'online_store_away');
    let cut = 0;
    while (cut === 0) {
      const { rowCount } = await database.db.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()`,
      );
      cut = rowCount ?? 0;
    }
    const { status, retryAfterSeconds } = await refusal;
    assert.deepEqual([status, retryAfterSeconds], [503, 2]);
    await blocker.query('ROLLBACK');
    blocker.release();
    assert.equal((await send({ ...input, planHash })).registryVersion, 2);
  });
});

describe('the registry cache', () => {
  let database: TestDatabase;
  before(async () => {
    database = await freshDatabase();
  });
  after(() => database.drop());

  it('shares loads, keeps what did not change, and sees a publish that was answered before', async () => {
    const cache = new RegistryCache(database.db);
    assert.throws(() => cache.current());
    let loads = 0;
    cache.onLoad(() => loads++);
    await cache.reload();
    const two = {
      ...weather,
      views: [...weather.views, { name: 'planes', entity: 'airport', features: { age: 'int32' } }],
    };
    await publish(database.db, { definitions: two }, 'test');
    const early = cache.reload(); // sent before the next publish is answered
    await publish(database.db, { definitions: weatherWith({ ttl: '1h' }) }, 'test');
    const [, ...later] = await Promise.all([early, cache.reload(), cache.reload(2), cache.reload(2)]);
    for (const snapshot of later) assert.equal(snapshot.views.get('weather')?.get(1)?.definition.ttl, '1h');
    assert.ok(loads <= 3, `${loads} loads`);

    const planes = cache.current().views.get('planes')?.get(1);
    await publish(database.db, { definitions: weatherWith({ ttl: '2h' }) }, 'test');
    assert.equal((await cache.reload(3)).views.get('planes')?.get(1), planes);
    const loadsBefore = loads;
    await cache.reload(3);
    assert.equal(loads, loadsBefore);
  });
});
