import assert from 'node:assert/strict';
import { parseJson } from '../../contract/json';
import { MAX_KEYS } from '../../server/online/readKeys';
import { planRead } from '../../server/online/readPlan';
import { jsonRows, ndjsonRowsOf, onlineStore, refusalOf, type OnlineStore } from './support/onlineStore';

const flights = {
  entities: [
    { name: 'airport', keys: { origin: 'string' } },
    { name: 'route', keys: { origin: 'string', dest: 'string' } },
    { name: 'plane', keys: { tailnum: 'string' } },
    { name: 'numbered', keys: { origin: 'int32' } },
  ],
  views: [
    { name: 'weather', entity: 'airport', ttl: '3h', features: { temp: 'float64', wind: 'int64' } },
    { name: 'delays', entity: 'route', features: { delay: 'float32', temp: 'int32' } },
    { name: 'planes', entity: 'plane', features: { seats: 'int32' } },
    { name: 'gates', entity: 'numbered', features: { gates: 'int32' } },
  ],
  services: [{ name: 'late', features: ['planes:seats', 'weather:temp'] }],
};

describe('reading online', () => {
  let store: OnlineStore;
  beforeEach(async () => {
    store = await onlineStore();
    await store.publish(flights);
  });
  afterEach(() => store.drop());

  const ago = async (interval: string): Promise<string> => {
    const { rows } = await store.db.query<{ at: string }>(
      `SELECT to_char((statement_timestamp() - interval '${interval}') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at`,
    );
    return rows[0]?.at ?? '';
  };

  it('answers in the order asked: views with keys of their own, one status each', async () => {
    const [fresh, old] = [await ago('1 hour'), await ago('4 hours')];
    await store.push(
      'weather',
      jsonRows([
        { origin: 'JFK', temp: 39.5, event_timestamp: fresh },
        { origin: 'LGA', temp: 40, wind: 7, event_timestamp: old },
      ]),
    );
    await store.push('delays', jsonRows([{ origin: 'JFK', dest: 'SFO', delay: 0.1, event_timestamp: old }]));
    const columns = await store.get(['weather:wind', 'delays:delay', 'weather:temp'], {
      origin: ['JFK', 'LGA', 'EWR', 'JFK'],
      dest: ['SFO', 'SFO', 'SFO', 'BOS'],
    });
    assert.deepEqual(Object.keys(columns), ['wind', 'delay', 'temp']);
    assert.deepEqual(columns, {
      wind: {
        values: [null, null, null, null],
        statuses: ['NULL_VALUE', 'OUTSIDE_MAX_AGE', 'NOT_FOUND', 'NULL_VALUE'],
        eventTimestamps: [fresh, old, null, fresh],
      },
      delay: {
        values: [0.1, null, null, null],
        statuses: ['PRESENT', 'NOT_FOUND', 'NOT_FOUND', 'NOT_FOUND'],
        eventTimestamps: [old, null, null, null],
      },
      temp: {
        values: [39.5, null, null, 39.5],
        statuses: ['PRESENT', 'OUTSIDE_MAX_AGE', 'NOT_FOUND', 'PRESENT'],
        eventTimestamps: [fresh, old, null, fresh],
      },
    });
  });

  it('names columns after their features, and lengthens names that clash', async () => {
    const read = (request: object): Promise<string> => store.read({ entities: { origin: [], dest: [] }, ...request });
    const names = async (request: object): Promise<string[]> =>
      Object.keys((JSON.parse(await read(request)) as { columns: object }).columns);
    assert.deepEqual(await names({ features: ['weather:temp', 'delays:temp', 'delays:delay'] }), [
      'weather__temp',
      'delays__temp',
      'delay',
    ]);
    assert.deepEqual(await names({ features: ['weather@v1:temp', 'delays:delay'], fullNames: true }), [
      'weather__temp',
      'delays__delay',
    ]);
    const service = { service: 'late', entities: { origin: ['JFK'], tailnum: ['N1'] } };
    assert.deepEqual(await names(service), ['seats', 'temp']);
  });

  it('reads two views whose keys share a name but not a type, each by its own', async () => {
    await store.push('gates', jsonRows([{ origin: 7, gates: 12, event_timestamp: await ago('1 hour') }]));
    await store.push('weather', jsonRows([{ origin: '7', temp: 1, event_timestamp: await ago('1 hour') }]));
    assert.deepEqual((await store.get(['gates:gates'], { origin: [7] }))['gates']?.values, [12]);
    const refusal = await refusalOf(store.get(['gates:gates', 'weather:temp'], { origin: [7] }));
    assert.deepEqual(
      refusal.problems.map(({ row, field, code }) => [row, field, code]),
      [[0, 'origin', 'wrong_type']],
    );
  });

  describe('at the edge of the ttl', () => {
    /** The age at which rows stand in the moment of one read, by setting the stored time from the read's own clock. */
    const statusAtAge = async (age: string): Promise<unknown> => {
      // The event time is moved in the table, so the read can be made with a clock that stands still: the transaction's.
      const client = await store.db.connect();
      try {
        await client.query('BEGIN');
        const plan = planRead(await store.registry.reload(), { features: ['weather:temp'], entities: {} });
        const frozen = plan.sql.replaceAll('statement_timestamp()', 'transaction_timestamp()');
        assert.notEqual(frozen, plan.sql);
        await client.query(
          `INSERT INTO features.weather_v1 VALUES ('EDGE', 1, 1, transaction_timestamp() - interval '${age}', now(), 1)`,
        );
        const { rows } = await client.query<string[]>({ text: frozen, values: [['EDGE']], rowMode: 'array' });
        return rows[0]?.[4];
      } finally {
        await client.query('ROLLBACK');
        client.release();
      }
    };

    it('is inclusive, exact to the microsecond, and takes what lies ahead as new', async () => {
      assert.equal(await statusAtAge('3 hours'), 't');
      assert.equal(await statusAtAge('3 hours 0.000001 seconds'), 'f');
      assert.equal(await statusAtAge('-4 minutes'), 't');
      assert.equal(await statusAtAge('9 days'), 'f');
    });

    it('follows a changed ttl at once, also on rows that are stored already', async () => {
      await store.push('weather', jsonRows([{ origin: 'JFK', temp: 1, event_timestamp: await ago('4 hours') }]));
      const status = async (): Promise<unknown> =>
        (await store.get(['weather:temp'], { origin: ['JFK'] }))['temp']?.statuses[0];
      assert.equal(await status(), 'OUTSIDE_MAX_AGE');
      const changed = structuredClone(flights);
      Object.assign(changed.views[0] ?? {}, { ttl: '5h' });
      await store.publish(changed); // this gateway is not told
      assert.equal(await status(), 'PRESENT');
      Object.assign(changed.views[0] ?? {}, { ttl: '0s' });
      await store.publish(changed);
      assert.equal(await status(), 'PRESENT');
    });
  });

  it('sees a feature that another gateway published a moment ago', async () => {
    await store.get(['weather:temp'], { origin: ['JFK'] });
    const wider = structuredClone(flights);
    Object.assign(wider.views[0]?.features ?? {}, { rain: 'float32' });
    await store.publish(wider);
    assert.deepEqual((await store.get(['weather:rain'], { origin: ['JFK'] }))['rain']?.statuses, ['NOT_FOUND']);
  });

  it('answers for no keys', async () => {
    assert.deepEqual(await store.get(['weather:temp'], { origin: [] }), {
      temp: { values: [], statuses: [], eventTimestamps: [] },
    });
  });

  it('answers a hundred thousand keys and refuses one more', async () => {
    const count = 5_000;
    const lines = Array.from({ length: count }, (_, index) =>
      JSON.stringify({ origin: `K${index}`, temp: index, event_timestamp: '2024-01-01T00:00:00Z' }),
    );
    await store.push('weather', ndjsonRowsOf(lines));
    const origin = Array.from({ length: MAX_KEYS }, (_, index) => `K${(index * 7) % (count + 1)}`);
    const wind = (await store.get(['weather:wind'], { origin }))['wind'];
    assert.equal(wind?.statuses.length, MAX_KEYS);
    const absent = origin.flatMap((key, index) => (key === `K${count}` ? [index] : []));
    assert.ok(absent.length > 10);
    assert.deepEqual(
      wind?.statuses.flatMap((status, index) => (status === 'NOT_FOUND' ? [index] : [])),
      absent,
    );
    const refusal = await refusalOf(store.get(['weather:wind'], { origin: [...origin, 'JFK'] }));
    assert.equal(refusal.code, 'too_many_keys');
    assert.match(refusal.detail, /at most 100000 keys; this one has 100001/);
  });

  it('refuses what it cannot answer, and says why', async () => {
    const cases: [string[], Record<string, unknown[]>, string, RegExp][] = [
      [['weather:tmp'], { origin: [] }, 'unknown_feature', /Did you mean temp/],
      [['wether:temp'], { origin: [] }, 'unknown_view', /Did you mean weather/],
      [['weather:temp'], { orgin: ['JFK'], origin: ['JFK'] }, 'bad_keys', /found orgin, expected origin, perhaps/],
      [['weather:temp'], {}, 'bad_keys', /no list of origin, expected origin: \[values\], a key of weather/],
      [['delays:delay'], { origin: ['JFK'] }, 'bad_keys', /no list of dest/],
      [
        ['delays:delay'],
        { origin: ['JFK'], dest: [] },
        'bad_keys',
        /found 0 values, expected 1, as many as origin has/,
      ],
      [
        ['weather:temp'],
        { origin: ['JFK', 5, null] },
        'bad_keys',
        /Key 1 of origin: found 5, expected a string \(and 1 more\)/,
      ],
      [
        ['weather:temp'],
        JSON.parse('{"origin":[],"__proto__":["x"]}') as Record<string, unknown[]>,
        'bad_keys',
        /__proto__/,
      ],
      [['weather:temp'], { origin: [], constructor: [] }, 'bad_keys', /constructor/],
    ];
    for (const [features, entities, code, words] of cases) {
      const refusal = await refusalOf(store.get(features, entities));
      assert.equal(refusal.code, code);
      assert.match(refusal.detail, words);
    }
  });

  it('probes the index of a table that was empty when the statement was prepared', async () => {
    const read = (): Promise<unknown> => store.get(['weather:temp', 'delays:delay'], { origin: ['K7'], dest: ['X'] });
    await store.db.query('VACUUM ANALYZE features.weather_v1');
    for (let call = 0; call < 30; call++) await read(); // each connection has it prepared by now
    const lines = Array.from({ length: 20_000 }, (_, index) =>
      JSON.stringify({ origin: `K${index}`, temp: index, event_timestamp: '2024-01-01T00:00:00Z' }),
    );
    await store.push('weather', ndjsonRowsOf(lines));
    const plan = planRead(store.registry.current(), { features: ['weather:temp', 'delays:delay'], entities: {} });
    const client = await store.reads.connect();
    try {
      const { rows: names } = await client.query<{ name: string }>(
        'SELECT name FROM pg_prepared_statements WHERE statement = $1',
        [plan.sql],
      );
      const { rows } = await client.query<{ 'QUERY PLAN': string }>(
        `EXPLAIN EXECUTE ${names[0]?.name}(ARRAY['K7', 'K8'], ARRAY['X', 'Y'])`,
      );
      const text = rows.map((row) => row['QUERY PLAN']).join('\n');
      assert.match(text, /Index Scan using "?weather_v1_pkey/);
      assert.match(text, /Index Scan using "?delays_v1_pkey/);
      assert.doesNotMatch(text, /Seq Scan on (weather|delays)|Hash|Merge/);
    } finally {
      client.release();
    }
  });

  it('prepares a statement once a connection, and again when the connection lost it', async () => {
    const read = (): Promise<unknown> => store.get(['weather:temp'], { origin: ['JFK'] });
    await read();
    const client = await store.reads.connect();
    const prepared = async (): Promise<number> =>
      Number(
        (await client.query<{ n: string }>(`SELECT count(*) AS n FROM pg_prepared_statements WHERE name LIKE 'loft%'`))
          .rows[0]?.n,
      );
    assert.equal(await prepared(), 1);
    await client.query('DEALLOCATE ALL');
    client.release();
    await read();
    await read();
    assert.equal(await prepared(), 1);
  });

  it('reads as many features as Postgres gives in one statement, and refuses more', async () => {
    const names = (view: string): string[] => Array.from({ length: 800 }, (_, n) => `${view}_${n}`);
    const wide = ['a', 'b', 'c'].map((name) => ({
      name,
      entity: 'plane',
      features: Object.fromEntries(names(name).map((feature) => [feature, 'bool'])),
    }));
    await store.publish({ entities: flights.entities, views: wide });
    const refs = wide.flatMap(({ name }) => names(name).map((feature) => `${name}:${feature}`));
    const event_timestamp = '2024-01-01T00:00:00Z';
    await store.push('b', jsonRows([{ tailnum: 'N1', b_799: true, event_timestamp }]));
    const columns = await store.get(refs.slice(0, 1_600), { tailnum: ['N1'] });
    assert.equal(Object.keys(columns).length, 1_600);
    assert.deepEqual(columns['b_799']?.values, [true]);
    assert.deepEqual(columns['a_0']?.statuses, ['NOT_FOUND']);
    assert.equal((await refusalOf(store.get(refs, { tailnum: ['N1'] }))).code, 'too_many_features');
  });

  it('keeps the statements that a connection has prepared within bounds', async function () {
    this.timeout(60_000);
    const names = Array.from({ length: 9 }, (_, n) => `f${n}`);
    const features = Object.fromEntries(names.map((name) => [name, 'bool']));
    await store.publish({ entities: flights.entities, views: [{ name: 'many', entity: 'plane', features }] });
    for (let choice = 1; choice <= 300; choice++) {
      const chosen = names.filter((_, n) => (choice >> n) & 1);
      await store.get(
        chosen.map((name) => `many:${name}`),
        { tailnum: ['N1'] },
      );
    }
    const { rows } = await store.reads.query<{ n: string }>('SELECT count(*) AS n FROM pg_prepared_statements');
    assert.equal(rows[0]?.n, '256');
    // One that was given up is prepared anew.
    assert.deepEqual((await store.get(['many:f0'], { tailnum: ['N1'] }))['f0']?.statuses, ['NOT_FOUND']);
  });

  it('gives every kind of number back as it came', async () => {
    const row = `{"origin": "JFK", "temp": -0.0, "wind": 9223372036854775807, "event_timestamp": "2999-01-01T00:00:00Z"}`;
    const ahead = structuredClone(flights);
    Object.assign(ahead.views[0] ?? {}, { allow_future_events: true });
    await store.publish(ahead);
    await store.push(
      'weather',
      jsonRows(`[${row}, {"origin": "LGA", "temp": "NaN", "event_timestamp": "2999-01-01T00:00:00Z"}]`),
    );
    const text = await store.read({ features: ['weather:temp', 'weather:wind'], entities: { origin: ['JFK', 'LGA'] } });
    parseJson(text);
    assert.match(text, /"temp":\{"values":\[-0\.0,"NaN"\]/);
    assert.match(text, /"wind":\{"values":\[9223372036854775807,null\]/);
  });
});
