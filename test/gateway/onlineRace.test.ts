import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { OnlineAnswer } from '../../contract/api';
import type { RowSource } from '../../server/online/decode/rowSource';
import { openReadPool } from '../../server/online/readPool';
import { readOnline } from '../../server/online/read';
import { writeRows } from '../../server/online/write';
import { RegistryCache } from '../../server/registry/cache';
import { plan, publish } from '../../server/registry/publish';
import { ndjsonRowsOf, onlineStore, type OnlineStore } from './support/onlineStore';

/** The view with so many features. */
const definitions = (features: number) => ({
  entities: [{ name: 'e', keys: { k: 'int32' } }],
  views: [
    {
      name: 'v',
      entity: 'e',
      features: Object.fromEntries(Array.from({ length: features }, (_, n) => [`f${n}`, 'int64'])),
    },
  ],
});
const event = '2024-01-01T00:00:00Z';

describe('a registry that moves while rows are written and read', () => {
  let store: OnlineStore;
  before(async () => {
    store = await onlineStore();
    await store.publish(definitions(1));
  });
  after(() => store.drop());

  it('neither fails nor misleads a writer or a reader: each uses the columns of its moment', async function () {
    this.timeout(60_000);
    const last = 12;
    let published = 1;
    let over = false;
    const publisher = async (): Promise<void> => {
      for (let features = 2; features <= last; features++) {
        await store.publish(definitions(features));
        published = features;
      }
      over = true;
    };
    let [written, calls] = [0, 0];
    const writer = async (large: boolean): Promise<void> => {
      for (let call = 0; !over || call < 3; call++) {
        // What was answered before a request is what the request must see.
        const known = published;
        const row = (k: number): string => JSON.stringify({ k, event_timestamp: event, [`f${known - 1}`]: known });
        const rows = Array.from({ length: large ? 1_500 : 3 }, (_, k) => row(k));
        written += (await store.push('v', ndjsonRowsOf(rows))).written;
        calls++;
      }
    };
    const reader = async (): Promise<void> => {
      for (let call = 0; !over || call < 3; call++) {
        const known = published;
        const columns = await store.get([`v:f${known - 1}`], { k: [0, 1, 99_999] });
        assert.equal(columns[`f${known - 1}`]?.statuses[2], 'NOT_FOUND');
        calls++;
      }
    };
    await Promise.all([publisher(), writer(false), writer(false), writer(true), reader(), reader()]);
    assert.ok(calls > 20);
    assert.ok(written > 0);
  });

  it('lets a read after an answered write see it, through any gateway', async () => {
    const { db, connection } = store.database;
    const reads = openReadPool(connection, { max: 2 });
    const other = { db, reads, registry: new RegistryCache(db), gateway: 'other' };
    await other.registry.reload();
    try {
      for (let value = 1; value <= 40; value++) {
        const time = `2024-01-02T00:00:${String(value).padStart(2, '0')}Z`;
        const rows = ndjsonRowsOf([JSON.stringify({ k: 5, f0: value, event_timestamp: time })]);
        const [here, there] = value % 2 ? [store, other] : [other, store];
        await writeRows(here, { view: 'v', rows, onError: 'reject' });
        const text = await readOnline(there, { features: ['v:f0'], entities: { k: [5] } });
        assert.equal((JSON.parse(text) as OnlineAnswer).columns['f0']?.values[0], value);
      }
    } finally {
      await reads.end();
    }
  });

  for (const [path, count] of [
    ['one statement', 2],
    ['staging', 1_200],
  ] as const) {
    it(`tries again after a deadlock, by ${path}`, async function () {
      this.timeout(30_000);
      const row = (k: number, f0: number): string => JSON.stringify({ k, f0, event_timestamp: '2024-02-01T00:00:00Z' });
      await store.push('v', ndjsonRowsOf([row(1, 0), row(2, 0)]));
      const client = await store.db.connect();
      try {
        await client.query('BEGIN');
        // It checks for deadlocks later than the writer does, so that the writer is the one to give way.
        await client.query("SET LOCAL deadlock_timeout = '20s'");
        await client.query('UPDATE features.v_v1 SET f0 = 7 WHERE k = 2');
        const pushed = store.push('v', ndjsonRowsOf(Array.from({ length: count }, (_, k) => row(k + 1, 5))));
        await waitForBlocked(store);
        await client.query('UPDATE features.v_v1 SET f0 = 7 WHERE k = 1');
        await client.query('COMMIT');
        const { written, superseded } = await pushed;
        assert.deepEqual([written, superseded], [count, 0]);
        assert.deepEqual((await store.get(['v:f0'], { k: [1, 2] }))['f0']?.values, [5, 5]);
      } finally {
        await client.query('ROLLBACK');
        client.release();
      }
    });
  }

  it('finds a view, and a version, that another gateway published a moment ago', async () => {
    const added = definitions(12);
    added.views.push({ name: 'w', entity: 'e', features: { g: 'int64' } });
    await store.publish(added);
    assert.equal(
      (await store.push('w', ndjsonRowsOf([JSON.stringify({ k: 1, g: 2, event_timestamp: event })]))).written,
      1,
    );
    await store.publish({
      entities: added.entities,
      views: [{ name: 'x', entity: 'e', features: { h: 'int64' } }],
    });
    assert.deepEqual((await store.get(['x:h', 'w:g'], { k: [1] }))['g']?.values, [2]);
  });

  it('puts staged rows in although another view was published meanwhile; reads them anew when it was theirs', async () => {
    const lines = Array.from({ length: 1_200 }, (_, k) =>
      JSON.stringify({ k, f0: 9, event_timestamp: '2024-03-01T00:00:00Z' }),
    );
    /** Publishes just before the rows end, the first time that they do. */
    const interrupted = (publishing: () => Promise<void>): { source: RowSource; passes: () => number } => {
      let passes = 0;
      return {
        passes: () => passes,
        source: async function* (view, problems) {
          for await (const batch of ndjsonRowsOf(lines)(view, problems)) yield batch;
          passes++;
          if (passes === 1) await publishing();
        },
      };
    };
    const features = { k1: 'int64' };
    const other = interrupted(() =>
      store.publish({ entities: definitions(1).entities, views: [{ name: 'other', entity: 'e', features }] }),
    );
    assert.equal((await store.push('v', other.source)).written, 1_200);
    assert.equal(other.passes(), 1);
    const own = interrupted(() => store.publish(definitions(13)));
    assert.equal((await store.push('v', own.source)).written, 1_200);
    assert.equal(own.passes(), 2);
    const { rows } = await store.db.query<{ n: string }>(
      `SELECT sum(row_count) AS n FROM registry.outbox WHERE newest_event = '2024-03-01T00:00:00Z'`,
    );
    assert.equal(rows[0]?.n, '2400');
  });

  it('no longer finds a view that another gateway removed a moment ago', async () => {
    await store.publish({
      entities: definitions(1).entities,
      views: [{ name: 'gone', entity: 'e', features: { g: 'int64' } }],
    });
    const removal = { definitions: {}, remove: ['gone'] };
    await store.get(['gone:g'], { k: [1] });
    const { planHash } = await plan(store.db, removal);
    await publish(store.db, { ...removal, planHash }, 'test');
    const rows = ndjsonRowsOf([JSON.stringify({ k: 1, g: 2, event_timestamp: event })]);
    await assert.rejects(store.push('gone', rows), { code: 'unknown_view' });
    await assert.rejects(store.get(['gone:g'], { k: [1] }), { code: 'unknown_view' });
  });
});

/** Until some statement waits for a row's lock. */
async function waitForBlocked(store: OnlineStore): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt++) {
    const { rows } = await store.db.query('SELECT 1 FROM pg_locks WHERE NOT granted');
    if (rows.length > 0) return;
    await delay(10);
  }
  throw new Error('nothing waits');
}
