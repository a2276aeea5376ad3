import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { followChanges, type Followed } from '../../client/changeStream';
import type { GatewayClient } from '../../client/gatewayClient';
import type { OnlineAnswer } from '../../contract/api';
import { evidence } from './evidence';
import { openLoop, type LoadReport, type Turn } from './support/openLoop';
import { cpuMs, residentMiB } from '../support/processes';
import { byLibrary } from './support/python';
import { sharedStore, type Store } from './support/store';

const AT = '2024-03-01T12:00:00.000001Z';

describe('online', function () {
  this.timeout(180_000);
  let store: Store;
  before(async () => {
    store = await sharedStore();
  });

  it('publish a feature by library and by HTTP → stored in the database', async function () {
    const byPython = await byLibrary(
      store,
      `
from datetime import datetime, timezone
published = store.publish(fl.View("by_library", fl.Entity("product", {"sku": "string"}), {"price": "float64", "sold": "int64"}))
at = datetime(2024, 3, 1, 12, 0, 0, 1, tzinfo=timezone.utc)
wrote = store.push("by_library", [{"sku": "a", "price": -0.0, "sold": 2**53 + 1, "event_timestamp": at},
                                  {"sku": "b", "price": float("nan"), "sold": None, "event_timestamp": at}])
print(json.dumps({"registryVersion": published.registry_version, "written": wrote.written}))`,
    );
    const { registryVersion, written } = byPython as { registryVersion: number; written: number };
    assert.equal(written, 2);

    const published = (await http(store, '/v1/publish', {
      definitions: {
        entities: [{ name: 'city', keys: { country: 'string', city: 'int64' } }],
        views: [{ name: 'by_http', entity: 'city', features: { people: 'int64', area: 'decimal(10,2)' } }],
      },
    })) as { registryVersion: number };
    assert.equal(published.registryVersion, registryVersion + 1);
    // The text, because no number of JavaScript's is this one.
    const rows = `{"rows":[{"country":"CH","city":9007199254740993,"people":9223372036854775807,"area":"87.88","event_timestamp":"${AT}"}]}`;
    assert.deepEqual(await http(store, '/v1/views/by_http/rows', rows), {
      ...{ written: 1, superseded: 0, rejected: 0, warned: 0 },
    });

    const columns = await store.sql(
      `SELECT table_name || '.' || column_name || ' ' || data_type AS found FROM information_schema.columns
       WHERE table_schema = 'features' AND table_name IN ('by_library_v1', 'by_http_v1') AND column_name NOT IN
         ('event_timestamp', 'created_timestamp', 'write_seq') ORDER BY table_name DESC, ordinal_position`,
    );
    assert.deepEqual(
      columns.map(({ found }) => found),
      [
        ...['by_library_v1.sku text', 'by_library_v1.price double precision', 'by_library_v1.sold bigint'],
        ...['by_http_v1.country text', 'by_http_v1.city bigint', 'by_http_v1.people bigint', 'by_http_v1.area numeric'],
      ],
    );
    const library = await store.sql(
      'SELECT sku, price, sold, event_timestamp AS at FROM features."by_library_v1" ORDER BY sku',
    );
    const at = '2024-03-01 12:00:00.000001+00';
    assert.deepEqual(library, [
      { sku: 'a', price: '-0', sold: '9007199254740993', at },
      { sku: 'b', price: 'NaN', sold: null, at },
    ]);
    const direct = await store.sql(
      'SELECT country, city, people, area, event_timestamp AS at FROM features."by_http_v1"',
    );
    assert.deepEqual(direct, [
      { country: 'CH', city: '9007199254740993', people: '9223372036854775807', area: '87.88', at },
    ]);
    const [stored] = await store.sql(
      `SELECT (SELECT count(*) FROM registry.view_versions WHERE view IN ('by_library', 'by_http')) AS views,
         (SELECT registry_version FROM registry.head) AS version`,
    );
    assert.deepEqual(stored, { views: '2', version: String(published.registryVersion) });
    evidence(
      this,
      'view by_library (price, sold) and 2 rows by the Python package; view by_http (people, area) and 1 row by HTTP',
      `SQL: by_library_v1 a price ${library[0]?.['price']} sold ${library[0]?.['sold']}, b price ${library[1]?.['price']}; by_http_v1 people ${direct[0]?.['people']} area ${direct[0]?.['area']} at ${direct[0]?.['at']}`,
      { 'registry version': published.registryVersion, views: 2, features: 4, rows: 3 },
    );
  });

  it('access a feature at any time → retrieved, also after a restart', async function () {
    await store.client.call('publish', {
      body: {
        definitions: {
          entities: [{ name: 'sensor', keys: { sensor: 'string' } }],
          views: [{ name: 'reading', entity: 'sensor', ttl: '100000d', features: { heat: 'float64', note: 'string' } }],
          services: [{ name: 'readings', features: ['reading:heat', 'reading:note'] }],
        },
      },
    });
    const sensors = Array.from({ length: 200 }, (_, index) => `s${index}`);
    await store.client.call('writeRows', {
      params: { view: 'reading' },
      rows: {
        json: {
          rows: sensors.map((sensor, index) => ({
            ...{ sensor, heat: index / 4, event_timestamp: AT },
            ...(index % 2 === 0 ? { note: `n${index}` } : {}),
          })),
        },
      },
    });
    const asked = [...sensors, 'never'];
    const expected: OnlineAnswer['columns'] = {
      heat: {
        values: [...sensors.map((_, index) => index / 4), null],
        statuses: [...sensors.map(() => 'PRESENT' as const), 'NOT_FOUND'],
        eventTimestamps: [...sensors.map(() => AT), null],
      },
      note: {
        values: [...sensors.map((_, index) => (index % 2 === 0 ? `n${index}` : null)), null],
        statuses: [
          ...sensors.map((_, index) => (index % 2 === 0 ? 'PRESENT' : 'NULL_VALUE') as 'PRESENT'),
          'NOT_FOUND',
        ],
        eventTimestamps: [...sensors.map(() => AT), null],
      },
    };
    const read = async (): Promise<void> => {
      const byReference = { features: ['reading:heat', 'reading:note'], entities: { sensor: asked } };
      const byService = { service: 'readings', entities: { sensor: asked } };
      for (const body of [byReference, byService]) {
        assert.deepEqual((await store.client.call('onlineGet', { body })).columns, expected);
      }
      const library = await byLibrary(
        store,
        'got = store.online("reading:heat", sensor=["s7", "never"])\nprint(json.dumps([got.values("heat"), got.statuses("heat")]))',
      );
      assert.deepEqual(library, [
        [1.75, null],
        ['PRESENT', 'NOT_FOUND'],
      ]);
    };
    await read();
    const afterKill = await store.restart('SIGKILL');
    await read();
    const afterStop = await store.restart('in order');
    await read();
    evidence(
      this,
      '200 rows to reading; then the gateway was killed with SIGKILL and started again, stopped in order and started again',
      'by references, by service and by the Python package, each of the three times: 200 of 200 PRESENT with their own value and event time (100 notes null: NULL_VALUE), 1 key NOT_FOUND',
      { 'back after SIGKILL, ms': afterKill, 'back after an orderly stop, ms': afterStop },
    );
  });

  it('search by name or keyword → relevant results', async function () {
    await store.sample();
    const refs = async (q: string, filter: { tag?: string; owner?: string } = {}): Promise<string[]> => {
      const { hits } = await store.client.call('search', { query: { q, ...filter } });
      return hits.map(({ ref }) => ref);
    };
    const weather = (names: string[]): string[] => names.map((name) => `airport_weather:${name}`);
    const wind = await refs('wind');
    assert.deepEqual(wind.slice(0, 3).sort(), weather(['wind_direction', 'wind_gust', 'wind_speed']));
    assert.equal((await refs('late_share'))[0], 'carrier_delay_history:late_share', 'its own name comes first');
    assert.ok((await refs('snow')).includes('airport_weather:precipitation'), 'a word of the description');
    assert.equal((await refs('manufac'))[0], 'plane_facts:manufacturer', 'the beginning of a word');
    assert.ok((await refs('presure')).includes('airport_weather:pressure'), 'a letter is missing');
    const fleet = await refs('fleet');
    assert.ok(fleet.length > 0 && fleet.every((ref) => ref.startsWith('plane_facts:')), 'a tag of the view');
    const raw = await refs('wind', { tag: 'raw', owner: 'weather@example.org' });
    assert.ok(raw.length >= 3 && raw.every((ref) => ref.startsWith('airport_weather:')));
    assert.deepEqual(await refs('zzzqqq'), []);
    const library = (await byLibrary(
      store,
      'hits = store.search("wind")\nprint(json.dumps({"refs": hits.refs, "total": hits.total, "ms": hits.took_ms}))',
    )) as { refs: string[]; total: number; ms: number };
    assert.deepEqual(library.refs, wind);
    evidence(
      this,
      'the nycflights sample: 20 features in 3 views with descriptions, owners and tags',
      `"wind" finds ${wind.slice(0, 3).join(', ')}; "late_share" finds itself first; "snow" finds precipitation by its description; "presure" finds pressure; "fleet" finds ${fleet.length} features by tag; "zzzqqq" finds none; the Python package finds the same`,
      { 'hits for wind': library.total, 'search took, ms': library.ms },
    );
  });

  it('modify a feature → reflected at once, also for a second client', async function () {
    const second = store.secondClient();
    const stop = new AbortController();
    try {
      const define = (describedAs: string, more: object = {}) => ({
        entities: [{ name: 'shop', keys: { shop: 'int64' } }],
        views: [
          { name: 'sales', entity: 'shop', features: { today: { type: 'int64', description: describedAs }, ...more } },
        ],
      });
      await store.client.call('publish', { body: { definitions: define('sold today') } });
      const write = (today: number, second_: number) =>
        store.client.call('writeRows', {
          params: { view: 'sales' },
          rows: {
            json: {
              rows: [{ shop: 1, today, event_timestamp: `2024-01-01T00:00:${String(second_).padStart(2, '0')}Z` }],
            },
          },
        });
      const readBy = async (client: GatewayClient): Promise<unknown> => {
        const body = { features: ['sales:today'], entities: { shop: [1] } };
        return (await client.call('onlineGet', { body })).columns['today']?.values[0];
      };

      // Values: 40 changes, and after each the other client's next read.
      for (let n = 0; n < 40; n++) {
        assert.deepEqual(await write(n, n), { written: 1, superseded: 0, rejected: 0, warned: 0 });
        assert.equal(await readBy(second), n, `the second client after change ${n}`);
        assert.equal(await readBy(store.client), n);
      }
      // An older value is history, not news.
      assert.equal((await write(999, 0)).superseded, 1);
      assert.equal(await readBy(second), 39);
      const [row] = await store.sql('SELECT today FROM features."sales_v1" WHERE shop = 1');
      assert.equal(row?.['today'], '39');

      // Definition: the second client follows the changes.
      const followed = followChanges(second, { signal: stop.signal });
      assert.equal((await next(followed)).kind, 'connected');
      const took: number[] = [];
      const extras: Record<string, string> = {};
      let version = (await store.client.call('registry')).registryVersion;
      for (let n = 1; n <= 10; n++) {
        extras[`extra_${n}`] = 'string';
        const body = { definitions: define(`described ${n}`, extras) };
        const sent = performance.now();
        const published = store.client.call('publish', { body });
        const event = await next(followed);
        took.push(performance.now() - sent);
        await published;
        assert.ok(event.kind === 'change', `told of ${event.kind}`);
        assert.equal(event.change.registryVersion, ++version);
        assert.deepEqual(event.change.changes, [{ kind: 'view', name: 'sales', version: 1, action: 'update' }]);
        const view = await second.call('view', { params: { view: 'sales' } });
        const today = view.features.find(({ name }) => name === 'today');
        assert.equal(today?.description, `described ${n}`);
        assert.ok(view.features.some(({ name }) => name === `extra_${n}`));
        const found = await second.call('search', { query: { q: `extra_${n}` } });
        assert.equal(found.hits[0]?.ref, `sales:extra_${n}`);
      }
      const worst = Math.max(...took);
      evidence(
        this,
        '40 newer values and an older one of sales:today; 10 publishes with a new description and a new feature each',
        'a second client on its own connection read each of the 40 values next, and 39 after the older one (SQL: 39); it was told of each publish by the change stream, in order, and then read the new definition and found the new feature',
        { 'publish sent → event at the other client, at most, ms': Math.round(worst) },
      );
    } finally {
      stop.abort();
      second.close();
    }
  });

  it('many concurrent requests → no error, no wrong value, no unbounded queue', async function () {
    const PROBES = 500;
    await store.client.call('publish', {
      body: {
        definitions: {
          entities: [{ name: 'probe', keys: { probe: 'int64' } }],
          views: [{ name: 'load', entity: 'probe', features: { turn: 'int64', check: 'string' } }],
        },
      },
    });
    const row = (probe: number, turn: number): Record<string, unknown> => ({
      ...{ probe, turn, check: checkOf(probe, turn) },
      event_timestamp: new Date(Date.UTC(2024, 0, 1) + turn * 1_000).toISOString(),
    });
    await store.client.call('writeRows', {
      params: { view: 'load' },
      rows: { json: { rows: Array.from({ length: PROBES }, (_, probe) => row(probe, 0)) } },
    });
    /** What each probe's last answered write said. A probe belongs to one client, which waits for each answer. */
    const written = new Array<number>(PROBES).fill(0);
    const turn = (probe: number, number: number): Turn => {
      const last = written[probe] ?? 0;
      if ((number + probe) % 20 === 0) {
        return {
          path: '/v1/views/load/rows',
          body: JSON.stringify({ rows: [row(probe, last + 1)] }),
          check: (answer) => {
            assert.equal((JSON.parse(answer) as { written: number }).written, 1);
            written[probe] = last + 1;
          },
        };
      }
      return {
        path: '/v1/online/get',
        body: JSON.stringify({ features: ['load:turn', 'load:check'], entities: { probe: [probe] } }),
        check(answer) {
          const { columns } = JSON.parse(answer) as OnlineAnswer;
          const found = [columns['turn']?.values[0], columns['check']?.values[0], columns['turn']?.statuses[0]];
          assert.deepEqual(found, [last, checkOf(probe, last), 'PRESENT']);
        },
      };
    };
    const run = async (clients: number, seconds: number): Promise<LoadReport & { cpu: number }> => {
      const before = await cpuMs(store.pid);
      const report = await openLoop(store, { clients, everyMs: 500, forMs: seconds * 1_000, turn });
      const cpu = ((await cpuMs(store.pid)) - before) / report.requests;
      assert.deepEqual(report.errors.slice(0, 3), [], `${report.errors.length} errors with ${clients} clients`);
      assert.deepEqual(report.wrong.slice(0, 3), [], `${report.wrong.length} wrong answers with ${clients} clients`);
      assert.equal(report.requests, clients * seconds * 2, 'each request was answered');
      assert.ok(report.mostInFlight <= clients);
      return { ...report, cpu };
    };

    await run(50, 2);
    const before = await residentMiB(store.pid);
    const few = await run(50, 8);
    const [many, most] = await withMemoryWatch(store.pid, () => run(500, 8));
    const calm = await run(50, 4);
    const last = await residentMiB(store.pid);

    // All that was asked has been answered, and what it took is given back or is small: nothing queues on.
    assert.ok(most - before < 300, `${before} MiB before, ${most} MiB under load`);
    await drained(store);
    const rows = await store.sql('SELECT probe, turn, "check" FROM features."load_v1" ORDER BY probe');
    assert.deepEqual(
      rows.map(({ probe, turn: stored, check }) => [Number(probe), Number(stored), check]),
      written.map((stored, probe) => [probe, stored, checkOf(probe, stored)]),
    );
    const writes = written.reduce((sum, one) => sum + one, 0);
    const ratio = (many.p99 / few.p99).toFixed(2);
    const line = (report: LoadReport): string => `${report.p50}/${report.p99}`;
    evidence(
      this,
      `open loop at 2 requests/s a client, 5 % of them writes: 50 clients for 8 s, then 500 for 8 s, then 50 again; ${few.requests + many.requests + calm.requests} requests, ${writes} writes`,
      `0 errors, 0 wrong values: each client read its own last answered write; SQL holds the last write of all ${PROBES} keys; the outbox is empty afterwards`,
      {
        'p99 with 500 / with 50 clients': ratio,
        'p50/p99 ms from the intended start: 50 clients': line(few),
        '500 clients': line(many),
        '50 afterwards': line(calm),
        'gateway CPU ms a request, 50/500 clients': `${few.cpu.toFixed(2)}/${many.cpu.toFixed(2)}`,
        'most due at once': many.mostDue,
        'most in flight': many.mostInFlight,
        'gateway MiB before/most/after': `${before}/${most}/${last}`,
      },
    );
  });
});

function checkOf(probe: number, turn: number): string {
  return `${probe}:${(probe * 7_919 + turn * 104_729) % 1_000_003}`;
}

/** Without our client: what any program that speaks HTTP does. */
async function http(store: Store, path: string, body: unknown): Promise<unknown> {
  const response = await fetch(new URL(path, store.url), {
    method: 'POST',
    headers: { authorization: `Bearer ${store.token}`, 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text);
}

async function next(followed: AsyncGenerator<Followed, void>): Promise<Followed> {
  const result = await Promise.race([followed.next(), delay(10_000, undefined, { ref: false })]);
  assert.ok(result !== undefined && result.done !== true, 'the change stream told nothing for 10 s');
  return result.value;
}

async function withMemoryWatch<Result>(pid: number, work: () => Promise<Result>): Promise<[Result, number]> {
  let most = 0;
  const watch = setInterval(() => {
    void residentMiB(pid).then((now) => (most = Math.max(most, now)));
  }, 250);
  try {
    return [await work(), most];
  } finally {
    clearInterval(watch);
  }
}

/** What was written under load reaches history soon after: nothing was left behind. */
async function drained(store: Store): Promise<void> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const { outbox } = await store.client.call('health');
    if (outbox?.chunks === 0) return;
    assert.ok(Date.now() < deadline, `${outbox?.chunks} chunks are still in the outbox after 60 s`);
    await delay(200);
  }
}
