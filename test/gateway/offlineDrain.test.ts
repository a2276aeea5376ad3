import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { publish } from '../../server/registry/publish';
import { writeRows } from '../../server/online/write';
import { readJsonRows } from '../../server/online/decode/jsonRows';
import { readOnline } from '../../server/online/read';
import { openReadPool } from '../../server/online/readPool';
import { printJson } from '../../contract/json';
import { openLake, openTestStore, type TestStore } from './support/offline';

const weather = {
  entities: [{ name: 'airport', keys: { origin: 'string' } }],
  views: [
    { name: 'weather', entity: 'airport', features: { temp: 'float64', note: 'string' } },
    { name: 'wind', entity: 'airport', features: { speed: 'float64' } },
  ],
};

async function push(on: TestStore, view: string, rows: unknown[]): Promise<void> {
  const body = readJsonRows(printJson({ rows }));
  assert.equal(body.kind, 'rows');
  await writeRows(
    { db: on.database.db, registry: on.registry, gateway: 'test' },
    { view, rows: body.source, onError: 'reject' },
  );
}

async function outboxChunks({ database }: TestStore): Promise<number> {
  const { rows } = await database.db.query<{ n: string }>('SELECT count(*) AS n FROM registry.outbox');
  return Number(rows[0]?.n);
}

/** What stands in the lake, read after the store was stopped. */
async function history(on: TestStore, sql: string): Promise<Record<string, unknown>[]> {
  const lake = await openLake(on.folder.dir);
  try {
    return await lake.read((session) => session.rows(sql));
  } finally {
    await lake.close();
  }
}

describe('drain: from the outbox to history', function () {
  this.timeout(60_000);
  let on: TestStore;
  beforeEach(async () => {
    on = await openTestStore();
    await publish(on.database.db, { definitions: weather }, 'test');
    await on.registry.reload();
  });
  afterEach(() => on.close());

  it('brings each row to the lake once, and empties the outbox', async () => {
    await on.store.start();
    await push(on, 'weather', [
      { origin: 'JFK', event_timestamp: '2024-01-01T00:00:00Z', temp: 1.5, note: 'a' },
      { origin: 'LGA', event_timestamp: '2024-01-01T00:00:00Z', temp: null, note: '' },
    ]);
    await push(on, 'wind', [{ origin: 'JFK', event_timestamp: '2024-01-01T00:00:00Z', speed: 3 }]);
    await on.store.drainAnswered();
    assert.equal(await outboxChunks(on), 0);
    const { rows: state } = await on.database.db.query(
      'SELECT view, rows, newest_event FROM registry.view_state ORDER BY view',
    );
    assert.deepEqual(state, [
      { view: 'weather', rows: '2', newest_event: '2024-01-01 00:00:00+00' },
      { view: 'wind', rows: '1', newest_event: '2024-01-01 00:00:00+00' },
    ]);
    await on.store.stop();
    assert.deepEqual(await history(on, 'SELECT origin, temp, note FROM lake.main.weather_v1 ORDER BY origin'), [
      { origin: 'JFK', temp: 1.5, note: 'a' },
      { origin: 'LGA', temp: null, note: '' },
    ]);
  });

  it('adds the column of a feature that was published later', async () => {
    await on.store.start();
    await push(on, 'wind', [{ origin: 'JFK', event_timestamp: '2024-01-01T00:00:00Z', speed: 3 }]);
    await on.store.drainAnswered();
    const [, wind] = weather.views;
    const widened = { ...weather, views: [{ ...wind, features: { speed: 'float64', gusts: 'list<int64>' } }] };
    await publish(on.database.db, { definitions: widened }, 'test');
    await on.registry.reload();
    await push(on, 'wind', [{ origin: 'JFK', event_timestamp: '2024-01-02T00:00:00Z', speed: 4, gusts: [1, null] }]);
    await on.store.drainAnswered();
    await on.store.stop();
    assert.deepEqual(await history(on, 'SELECT speed, gusts::VARCHAR AS gusts FROM lake.main.wind_v1 ORDER BY speed'), [
      { speed: 3, gusts: null },
      { speed: 4, gusts: '[1, NULL]' },
    ]);
  });

  it('skips a chunk that reached the lake before its outbox row was deleted', async () => {
    await push(on, 'wind', [{ origin: 'JFK', event_timestamp: '2024-01-01T00:00:00Z', speed: 3 }]);
    const { rows: chunks } = await on.database.db.query('CREATE TABLE kept AS SELECT * FROM registry.outbox');
    assert.equal(chunks.length, 0);
    await on.store.start();
    await on.store.drainAnswered();
    await on.store.stop();
    await on.database.db.query('INSERT INTO registry.outbox SELECT * FROM kept');
    const second = on.again();
    await second.start();
    await second.drainAnswered();
    await second.stop();
    assert.deepEqual(await history(on, 'SELECT count(*)::INTEGER AS n FROM lake.main.wind_v1'), [{ n: 1 }]);
  });

  it('leaves the online row equal to the newest row of history, whatever order rows arrived in', async () => {
    const rows = Array.from({ length: 60 }, (_, index) => ({
      origin: ['JFK', 'LGA', 'EWR'][index % 3],
      event_timestamp: `2024-01-0${1 + ((index * 7) % 9)}T00:00:00Z`,
      ...(index % 4 === 0 ? { created_timestamp: `2024-02-0${1 + ((index * 5) % 9)}T00:00:00Z` } : {}),
      temp: index,
      note: null,
    }));
    for (let at = 0; at < rows.length; at += 13) await push(on, 'weather', rows.slice(at, at + 13));
    await on.store.start();
    await on.store.drainAnswered();
    await on.store.stop();
    const newest = await history(
      on,
      `SELECT origin, temp, write_seq::VARCHAR AS write_seq FROM lake.main.weather_v1
       QUALIFY row_number() OVER (PARTITION BY origin ORDER BY event_timestamp DESC, created_timestamp DESC, write_seq DESC) = 1
       ORDER BY origin`,
    );
    const { rows: online } = await on.database.db.query<{ origin: string; temp: string; write_seq: string }>(
      'SELECT origin, temp, write_seq FROM features.weather_v1 ORDER BY origin',
    );
    assert.deepEqual(
      newest,
      online.map((row) => ({ ...row, temp: Number(row.temp) })),
    );
    const reads = openReadPool(on.database.connection, { max: 2 });
    const answer = await readOnline(
      { db: on.database.db, registry: on.registry, reads },
      { features: ['weather:temp'], entities: { origin: ['JFK'] } },
    );
    await reads.end();
    const found = (JSON.parse(answer) as { columns: { temp: { values: number[] } } }).columns.temp.values;
    assert.deepEqual(found, [newest.find((row) => row['origin'] === 'JFK')?.['temp']]);
  });

  it('does not drain into another store’s lake', async () => {
    await on.database.db.query(
      `UPDATE registry.head SET lake_id = 'other', lake_catalog = '/elsewhere/catalog.ducklake'`,
    );
    await on.store.start();
    await push(on, 'wind', [{ origin: 'JFK', event_timestamp: '2024-01-01T00:00:00Z', speed: 3 }]);
    await assert.rejects(on.store.drainAnswered(), { status: 409, code: 'lake_elsewhere' });
    assert.equal(on.store.status().state, 'lake_elsewhere');
    assert.equal(await outboxChunks(on), 1);
  });

  it('sets a chunk that can’t be read aside, drains the others, and tries it again later', async () => {
    const { db } = on.database;
    for (const speed of [3, 4]) {
      await push(on, 'wind', [{ origin: 'JFK', event_timestamp: '2024-01-01T00:00:00Z', speed }]);
    }
    await db.query('CREATE TABLE kept AS SELECT batch, body FROM registry.outbox ORDER BY batch LIMIT 1');
    await db.query(`UPDATE registry.outbox SET body = 'damaged' WHERE batch = (SELECT batch FROM kept)`);
    const store = on.again({ parkedMs: 5_000 });
    await store.start();
    await assert.rejects(store.drainAnswered(), { status: 503, code: 'outbox_stuck' });
    while ((await outboxChunks(on)) > 1) await delay(100);
    await db.query('UPDATE registry.outbox SET body = kept.body FROM kept WHERE outbox.batch = kept.batch');
    while ((await outboxChunks(on)) > 0) await delay(100);
    await store.drainAnswered();
    await store.stop();
    assert.deepEqual(await history(on, 'SELECT speed FROM lake.main.wind_v1 ORDER BY speed'), [
      { speed: 3 },
      { speed: 4 },
    ]);
  });

  it('loses and doubles nothing when the worker is killed at any moment', async () => {
    await on.store.start();
    let sent = 0;
    const killer = setInterval(() => {
      const pid = on.store.workerPid;
      if (pid !== undefined) process.kill(pid, 'SIGKILL');
    }, 700);
    try {
      for (const end = Date.now() + 8_000; Date.now() < end;) {
        await push(on, 'wind', [
          { origin: 'JFK', event_timestamp: '2024-01-01T00:00:00Z', speed: sent++ },
          { origin: 'LGA', event_timestamp: '2024-01-01T00:00:00Z', speed: sent++ },
        ]);
        on.store.wakeDrain();
      }
    } finally {
      clearInterval(killer);
    }
    await on.store.drainAnswered();
    await on.store.stop();
    assert.deepEqual(
      await history(
        on,
        'SELECT count(*)::INTEGER AS n, count(DISTINCT speed)::INTEGER AS speeds FROM lake.main.wind_v1',
      ),
      [{ n: sent, speeds: sent }],
    );
    const { rows } = await on.database.db.query<{ rows: string }>('SELECT rows FROM registry.view_state');
    assert.equal(Number(rows[0]?.rows), sent);
  });
});
