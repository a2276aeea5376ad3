import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TrainingSetInfo, TrainingSetRequest } from '../../contract/api';
import { canonicalJson } from '../../contract/canonical';
import type { LoftError } from '../../contract/errors';
import { parseJson, printJson } from '../../contract/json';
import type { OfflineStore } from '../../server/offline/offlineStore';
import { readJsonRows } from '../../server/online/decode/jsonRows';
import { writeRows } from '../../server/online/write';
import { publish } from '../../server/registry/publish';
import { openTestStore, textBody, type TestStore } from './support/offline';

const definitions = {
  entities: [
    { name: 'airport', keys: { origin: 'string' } },
    { name: 'route', keys: { origin: 'string', number: 'int32' } },
  ],
  views: [
    { name: 'weather', entity: 'airport', ttl: '2h', features: { temp: 'float64', note: 'string' } },
    { name: 'routes', entity: 'route', features: { seats: 'int64', temp: 'float64' } },
  ],
  services: [{ name: 'delays', features: ['weather:temp', 'routes:seats'] }],
};
const SPINE = `flight,origin,number,at,late
1,JFK,12,2024-01-01T02:00:00Z,true
2,LGA,11,2024-01-01T02:00:00Z,false
3,,12,2024-01-01T02:00:00Z,false
4,JFK,12,2024-01-01T02:00:00.000001Z,true
5,JFK,,2024-01-01T02:00:00Z,
1,JFK,12,2024-01-01T02:00:00Z,true
`;

async function push(on: TestStore, view: string, rows: unknown[]): Promise<void> {
  const body = readJsonRows(printJson({ rows }));
  assert.equal(body.kind, 'rows');
  const context = { db: on.database.db, registry: on.registry, gateway: 'test' };
  await writeRows(context, { view, rows: body.source, onError: 'reject' });
}

describe('training sets', function () {
  this.timeout(60_000);
  let on: TestStore;
  before(async () => {
    on = await openTestStore();
    await publish(on.database.db, { definitions }, 'test');
    await on.registry.reload();
    await on.store.start();
    await push(on, 'weather', [
      {
        origin: 'JFK',
        event_timestamp: '2024-01-01T00:00:00Z',
        created_timestamp: '2024-01-01T00:00:00Z',
        temp: 1,
        note: 'x',
      },
      { origin: 'LGA', event_timestamp: '2024-01-01T01:00:00Z', created_timestamp: '2024-01-01T03:00:00Z', temp: 2 },
    ]);
    await push(on, 'routes', [
      { origin: 'JFK', number: 12, event_timestamp: '2023-01-01T00:00:00Z', seats: 9007199254740993n },
      { origin: 'JFK', number: 12, event_timestamp: '2024-06-01T00:00:00Z', seats: 1 },
      { origin: 'LGA', number: 1, event_timestamp: '2023-01-01T00:00:00Z', seats: 2 },
    ]);
    await on.store.uploadDataset('flights', textBody(SPINE), { mode: 'replace', format: 'csv' });
  });
  after(() => on.close());

  const asked = (change: Partial<TrainingSetRequest> = {}): TrainingSetRequest => ({
    name: 'delays',
    spine: { dataset: 'flights' },
    eventTimestamp: 'at',
    labels: ['late'],
    features: ['weather:temp', 'routes:seats'],
    ...change,
  });
  async function create(change: Partial<TrainingSetRequest> = {}): Promise<TrainingSetInfo> {
    const set = await on.store.createTrainingSet(asked(change));
    assert.ok(!('dryRun' in set));
    return set;
  }
  async function rowsOf(set: TrainingSetInfo): Promise<string[]> {
    const file = await on.store.trainingSetFile(set.name, set.version, 'ndjson');
    const text = readFileSync(file.path, 'utf8');
    await file.release();
    return text.trimEnd().split('\n');
  }
  async function refusal(change: Partial<TrainingSetRequest>): Promise<LoftError> {
    try {
      await on.store.createTrainingSet(asked(change));
    } catch (error) {
      return error as LoftError;
    }
    return assert.fail('it was not refused');
  }

  it('keeps each spine row in its order and joins views with different keys as of each row’s time', async () => {
    const set = await create();
    assert.deepEqual(await rowsOf(set), [
      '{"flight":1,"origin":"JFK","number":12,"at":"2024-01-01T02:00:00Z","late":true,"temp":1,"seats":9007199254740993}',
      '{"flight":2,"origin":"LGA","number":11,"at":"2024-01-01T02:00:00Z","late":false,"temp":2,"seats":null}',
      '{"flight":3,"origin":null,"number":12,"at":"2024-01-01T02:00:00Z","late":false,"temp":null,"seats":null}',
      '{"flight":4,"origin":"JFK","number":12,"at":"2024-01-01T02:00:00.000001Z","late":true,"temp":null,"seats":9007199254740993}',
      '{"flight":5,"origin":"JFK","number":null,"at":"2024-01-01T02:00:00Z","late":null,"temp":1,"seats":null}',
      '{"flight":1,"origin":"JFK","number":12,"at":"2024-01-01T02:00:00Z","late":true,"temp":1,"seats":9007199254740993}',
    ]);
    assert.deepEqual(
      set.columns.map(({ name, type }) => `${name} ${type}`),
      ['flight int64', 'origin string', 'number int32', 'at timestamp', 'late bool', 'temp float64', 'seats int64'],
    );
  });

  it('hides from a row what was not yet known at its time', async () => {
    const set = await create({ name: 'known', features: ['weather:temp'], asKnownAt: true });
    const temps = (await rowsOf(set)).map((line) => (JSON.parse(line) as { temp: number | null }).temp);
    assert.deepEqual(temps, [1, null, null, null, 1, 1]);
  });

  it('gives the same request the version that stands, and its id is the hash of its recipe', async () => {
    const first = await create({ name: 'again' });
    const second = await create({ name: 'again' });
    assert.deepEqual(second, first);
    assert.equal(createHash('sha256').update(canonicalJson(first.recipe)).digest('hex'), first.id);
    const other = await create({ name: 'again', features: ['routes:seats', 'weather:temp'] });
    assert.equal(other.version, 2);
    assert.notEqual(other.id, first.id);
    const byService = await create({ name: 'again', features: undefined, service: 'delays' });
    assert.equal(byService.id, first.id);
  });

  it('keeps its id when a description changes and an unrelated feature is published', async () => {
    const before = await create({ name: 'steady' });
    const [weather, routes] = definitions.views;
    await publish(
      on.database.db,
      {
        definitions: {
          ...definitions,
          views: [
            { ...weather, description: 'new words', features: { ...weather?.features, wind: 'float64' } },
            routes,
          ],
        },
      },
      'test',
    );
    assert.equal((await create({ name: 'steady_too' })).id, before.id);
  });

  it('changes when a row is written that it would see', async () => {
    const before = await create({ name: 'moving' });
    await push(on, 'routes', [{ origin: 'LGA', number: 11, event_timestamp: '2023-05-01T00:00:00Z', seats: 7 }]);
    const after = await create({ name: 'moving' });
    assert.equal(after.version, 2);
    assert.notEqual(after.id, before.id);
  });

  it('is a plain Parquet file that stands as it was hashed', async () => {
    const set = await create({ name: 'plain' });
    const [file] = set.files;
    assert.equal(file?.file, `training/plain/v1/data.parquet`);
    const path = join(on.folder.dir, file.file);
    assert.ok(existsSync(path));
    assert.equal(createHash('sha256').update(readFileSync(path)).digest('hex'), file.sha256);
  });

  it('takes a spine of rows, typed by entity keys and by what is in them', async () => {
    const text = `[{"origin":"JFK","number":12,"at":"2024-01-01T03:00:00+01:00","weight":0.5,"n":9007199254740993},
      {"origin":"JFK","number":12,"at":null,"weight":2,"n":1}]`;
    const rows = parseJson(text, { verbatim: true }) as Record<string, unknown>[];
    const set = await create({ name: 'of_rows', spine: { rows }, labels: [] });
    assert.deepEqual(await rowsOf(set), [
      '{"origin":"JFK","number":12,"at":"2024-01-01T02:00:00Z","weight":0.5,"n":9007199254740993,"temp":1,"seats":9007199254740993}',
      '{"origin":"JFK","number":12,"at":null,"weight":2,"n":1,"temp":null,"seats":null}',
    ]);
    assert.ok(set.warnings.some((warning) => warning.includes('have no at')));
  });

  it('answers a dry run with columns and rows, and stores nothing', async () => {
    const plan = await on.store.createTrainingSet(asked({ name: 'dry', dryRun: true, fullNames: true }));
    assert.ok('dryRun' in plan);
    assert.equal(plan.rows, 6);
    assert.deepEqual(plan.features, ['weather@v1:temp', 'routes@v1:seats']);
    assert.deepEqual(
      plan.columns.slice(-2).map((column) => column.name),
      ['weather__temp', 'routes__seats'],
    );
    await assert.rejects(on.store.trainingSet('dry'), { code: 'unknown_training_set' });
  });

  it('warns of views that match little and of values that are too old', async () => {
    const set = await create({ name: 'warned' });
    assert.ok(
      set.warnings.some((warning) =>
        /weather@v1: 1 of 6 rows \(17 %\) are null because .* ttl of 7200 s/.test(warning),
      ),
    );
  });

  for (const [what, change, code, words] of [
    ['a label that is not there', { labels: ['lat'] }, 'bad_spine', /lat: found no such column.*Did you mean .*late/],
    ['a time column that is not there', { eventTimestamp: 'when' }, 'bad_spine', /when: found no such column/],
    ['a time column that holds none', { eventTimestamp: 'flight' }, 'bad_spine', /int64.*times with a zone/],
    ['an unknown feature', { features: ['weather:tmp'] }, 'unknown_feature', /Did you mean temp/],
    ['an unknown dataset', { spine: { dataset: 'flihts' } }, 'unknown_dataset', /Did you mean flights/],
    ['both features and a service', { service: 'delays' }, 'features_or_service', /either/],
    ['a bad name', { name: 'Bad Name' }, 'bad_name', /lower-case letters/],
    [
      'rows of mixed types',
      { spine: { rows: [{ origin: 'a', number: 1, at: null, late: 1 }, { late: 'x' }] } },
      'bad_spine',
      /row 2, late/,
    ],
    [
      'rows with two names that differ by case alone',
      { spine: { rows: [{ origin: 'a', number: 1, at: null, late: 1, Late: 2 }] } },
      'bad_spine',
      /Late beside late/,
    ],
    [
      'rows whose time has no zone',
      { spine: { rows: [{ origin: 'a', number: 1, at: '2024-01-01T00:00:00', late: 1 }] } },
      'bad_spine',
      /a zone, such as Z/,
    ],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const error = await refusal(change as unknown as Partial<TrainingSetRequest>);
      assert.equal(error.code, code);
      assert.match(error.detail, words);
    });
  }

  it('refuses a dataset whose times have no zone, and says what to write', async () => {
    await on.store.uploadDataset('zoneless', textBody('origin,number,at,late\nJFK,1,2024-01-01T00:00:00,true\n'), {
      mode: 'replace',
      format: 'csv',
    });
    const error = await refusal({ spine: { dataset: 'zoneless' } });
    assert.equal(error.code, 'bad_spine');
    assert.match(
      error.detail,
      /row 1, at: found "2024-01-01T00:00:00" \(string\), expected a time with its zone.*write Z or an offset/,
    );
  });

  it('refuses a spine column named like a feature, unless full names are asked for', async () => {
    await on.store.uploadDataset('clashing', textBody('origin,number,at,temp\nJFK,12,2024-01-01T00:00:00Z,5\n'), {
      mode: 'replace',
      format: 'csv',
    });
    const change = { spine: { dataset: 'clashing' }, labels: ['temp'] };
    assert.equal((await refusal(change)).code, 'column_clash');
    const set = await create({ ...change, name: 'clashing', fullNames: true });
    assert.equal(set.columns.at(-2)?.name, 'weather__temp');
  });

  it('lets keys, features and spine columns be named like anything', async () => {
    const names = ['rn', 't', 'k0', 'k1', 's', 'g0', 'w', 'ets', 'cts', 'seq', 'a', 'rank', 'next', 'top', 'select'];
    const odd = {
      entities: [{ name: 'odd', keys: { t: 'int64', k0: 'int64' } }],
      views: [
        {
          name: 'odd_view',
          entity: 'odd',
          ttl: '1d',
          features: Object.fromEntries(names.slice(4).map((name) => [name, 'int64'])),
        },
      ],
    };
    await publish(on.database.db, { definitions: odd }, 'test');
    await on.registry.reload();
    const values = Object.fromEntries(names.slice(4).map((name, index) => [name, index]));
    await push(on, 'odd_view', [{ t: 1, k0: 2, event_timestamp: '2024-01-01T00:00:00Z', ...values }]);
    const header = ['rn', 't', 'k0', 'k1', 'select', 'Weird "name"', 'ets'];
    await on.store.uploadDataset(
      'odd_spine',
      textBody(
        `${header.map((name) => `"${name.replaceAll('"', '""')}"`).join(',')}\n7,1,2,3,f,w,2024-01-01T01:00:00Z\n`,
      ),
      { mode: 'replace', format: 'csv' },
    );
    for (const asKnownAt of [false, true]) {
      const set = await create({
        name: 'odd_set',
        spine: { dataset: 'odd_spine' },
        eventTimestamp: 'ets',
        labels: [],
        features: names.slice(4).map((name) => `odd_view:${name}`),
        fullNames: true,
        asKnownAt,
      });
      const [row] = (await rowsOf(set)).map((line) => JSON.parse(line) as Record<string, unknown>);
      const shown = names.slice(4).map((name) => row?.[`odd_view__${name}`]);
      assert.deepEqual(shown, asKnownAt ? names.slice(4).map(() => null) : Object.values(values));
      assert.deepEqual([row?.['rn'], row?.['Weird "name"']], [7, 'w']);
    }
  });

  it('lists the newest of each, and names what is not there', async () => {
    const { items } = await on.store.trainingSets({ limit: 1_000 });
    assert.deepEqual(
      items.map((item) => item.name),
      [...new Set(items.map((item) => item.name))].sort(),
    );
    assert.equal(items.find((item) => item.name === 'again')?.version, 2);
    await assert.rejects(on.store.trainingSet('delay'), { code: 'unknown_training_set' });
    await assert.rejects(on.store.trainingSet('delays', 99), { code: 'unknown_version' });
  });

  it('is verified byte by byte: a flipped byte names the file, its table and the training sets', async () => {
    const clean = await on.store.verify('full');
    assert.deepEqual(clean.bad, []);
    assert.ok(clean.checked > 5);
    const flip = (file: string): (() => void) => {
      const path = join(on.folder.dir, file);
      const bytes = readFileSync(path);
      const changed = Buffer.from(bytes);
      const at = Math.floor(bytes.length / 2);
      changed[at] = (changed[at] ?? 0) ^ 1;
      writeFileSync(path, changed);
      return () => writeFileSync(path, bytes);
    };
    const set = await create({ name: 'watched' });
    const restoreSet = flip(set.files[0]?.file ?? '');
    assert.deepEqual((await on.store.verify('full')).bad, [
      {
        file: 'training/watched/v1/data.parquet',
        table: 'training/watched/v1',
        snapshot: set.snapshot,
        trainingSets: [{ name: 'watched', version: 1 }],
        problem: 'changed',
      },
    ]);
    restoreSet();
    const dataset = await on.store.datasetVersion('flights');
    const restoreDataset = flip(dataset.files[0]?.file ?? '');
    const [bad] = (await on.store.verify('incremental')).bad;
    assert.deepEqual([bad?.file, bad?.table, bad?.problem], [dataset.files[0]?.file, 'datasets.flights', 'changed']);
    assert.ok(bad?.trainingSets.some(({ name }) => name === 'watched'));
    assert.ok(!bad?.trainingSets.some(({ name }) => name === 'of_rows'));
    restoreDataset();
    assert.deepEqual((await on.store.verify('full')).bad, []);
  });
});

describe('verify and the catalog', function () {
  this.timeout(60_000);

  async function namesCatalog(store: OfflineStore, file: string, places: number[]): Promise<void> {
    assert.deepEqual((await store.verify('full')).bad, []);
    const bytes = readFileSync(file);
    const changed = Buffer.from(bytes);
    for (const at of places) changed[at] = (changed[at] ?? 0) ^ 1;
    writeFileSync(file, changed);
    const { bad } = await store.verify('full');
    assert.deepEqual(
      bad.map((one) => [one.file, one.table, one.problem]),
      [['lake/catalog.ducklake', 'catalog', 'changed']],
    );
    writeFileSync(file, bytes);
    assert.deepEqual((await store.verify('full')).bad, []);
  }

  it('names the catalog when a byte of it has flipped on disk', async () => {
    const on = await openTestStore();
    try {
      await on.store.start();
      const rows = Array.from({ length: 200 }, (_, n) => `${n},${n * 2}`);
      await on.store.uploadDataset('kept', textBody(`a,b\n${rows.join('\n')}\n`), { mode: 'replace', format: 'csv' });
      const catalog = join(on.folder.lakeDir, 'catalog.ducklake');
      // Before it is closed for the first time, the catalog is all in its log.
      await namesCatalog(on.store, `${catalog}.wal`, [500]);
      await on.store.stop();
      const second = on.again();
      // Blocks of 256 KiB follow three headers of 4 KiB; which of them are in use is DuckDB's to know.
      const blocks = Math.floor((readFileSync(catalog).length - 12_288) / 262_144);
      const places = Array.from({ length: blocks }, (_, block) => 12_288 + block * 262_144 + 1_000);
      await second.start();
      await namesCatalog(second, catalog, places);
    } finally {
      await on.close();
    }
  });
});

describe('values on their whole way: JSON, Postgres, outbox, lake, Parquet, pyarrow', function () {
  this.timeout(60_000);

  const types = {
    b: 'bool',
    i: 'int32',
    l: 'int64',
    f: 'float32',
    d: 'float64',
    s: 'string',
    y: 'bytes',
    t: 'timestamp',
    day: 'date',
    c: 'decimal(38,4)',
    c2: 'decimal(2,2)',
    u: 'uuid',
    j: 'json',
    lf: 'list<float64>',
    ll: 'list<int64>',
    ls: 'list<string>',
    ly: 'list<bytes>',
    lt: 'list<timestamp>',
    lc: 'list<decimal(9,2)>',
    lj: 'list<json>',
    e: 'embedding<3>',
  };
  const rows = [
    `"b":true,"i":-2147483648,"l":9223372036854775807,"f":0.1,"d":-0.0,"s":"","y":"","t":"0001-01-01T00:00:00Z","day":"0001-01-01","c":"-1234567890123456789012345678901234.5000","c2":"0.50","u":"123e4567-e89b-12d3-a456-426614174000","j":{"n":1.10},"lf":["NaN",-0.0,null,"-Infinity",1e+300],"ll":[-9223372036854775808,null],"ls":["a\\"b",null,"null",""],"ly":["AQI=",null,""],"lt":["0001-01-01T00:00:00Z","9999-12-31T23:59:59.999999Z",null],"lc":["-0.50","1234567.89"],"lj":[{"a":1.10},null,"x"],"e":[0.1,-0.0,3]`,
    `"b":false,"i":2147483647,"l":-9223372036854775808,"f":"NaN","d":"Infinity","s":"\\u2028😀é\\u202e","y":"/+8=","t":"9999-12-31T23:59:59.999999Z","day":"9999-12-31","c":"0.0001","c2":"-0.99","u":"ffffffff-ffff-ffff-ffff-ffffffffffff","j":"text","lf":[],"ll":[],"ls":[],"ly":[],"lt":[],"lc":[],"lj":[],"e":["NaN",1e-45,"Infinity"]`,
    Object.keys(types)
      .map((name) => `"${name}":null`)
      .join(','),
  ];

  it('come out as they went in', async () => {
    const on = await openTestStore();
    try {
      const all = {
        entities: [{ name: 'thing', keys: { k: 'int64' } }],
        views: [{ name: 'things', entity: 'thing', features: types }],
      };
      await publish(on.database.db, { definitions: all }, 'test');
      await on.registry.reload();
      const time = '"event_timestamp":"2024-01-01T00:00:00Z"';
      const body = readJsonRows(`{"rows":[${rows.map((row, k) => `{"k":${k},${time},${row}}`).join(',')}]}`);
      assert.equal(body.kind, 'rows');
      await writeRows(
        { db: on.database.db, registry: on.registry, gateway: 'test' },
        { view: 'things', rows: body.source, onError: 'reject' },
      );
      await on.store.start();
      const spine = rows.map((_, k) => ({ k, at: '2024-01-02T00:00:00Z' }));
      const set = await on.store.createTrainingSet({
        name: 'all_types',
        spine: { rows: spine },
        eventTimestamp: 'at',
        features: Object.keys(types).map((name) => `things:${name}`),
      });
      assert.ok(!('dryRun' in set));
      const file = await on.store.trainingSetFile('all_types', undefined, 'ndjson');
      const lines = readFileSync(file.path, 'utf8').trimEnd().split('\n');
      await file.release();
      assert.deepEqual(
        lines,
        rows.map((row, k) => printJson(parseJson(`{"k":${k},"at":"2024-01-02T00:00:00Z",${row}}`, { verbatim: true }))),
      );
      const python = join(__dirname, '..', '..', '.venv', 'bin', 'python');
      const parquet = join(on.folder.dir, set.files[0]?.file ?? '');
      const script = `
import pyarrow.parquet as pq, sys, math
t = pq.read_table(sys.argv[1])
c = {n: t.column(n).to_pylist() if str(t.schema.field(n).type) not in ("timestamp[us, tz=UTC]",) else t.column(n).cast("int64").to_pylist() for n in t.column_names if n not in ("lt",)}
print({n: str(t.schema.field(n).type) for n in t.column_names})
assert c["l"] == [9223372036854775807, -9223372036854775808, None]
assert math.copysign(1, c["d"][0]) == -1 and c["d"][1] == math.inf and c["d"][2] is None
assert math.isnan(c["f"][1]) and c["f"][0] == 0.10000000149011612
assert c["s"] == ["", "\\u2028\\U0001f600\\u00e9\\u202e", None]
assert c["y"] == [b"", b"\\xff\\xef", None]
assert c["t"] == [-62135596800000000, 253402300799999999, None]
assert [str(v) for v in c["day"]] == ["0001-01-01", "9999-12-31", "None"]
assert [str(v) for v in c["c"]] == ["-1234567890123456789012345678901234.5000", "0.0001", "None"]
assert c["ll"] == [[-9223372036854775808, None], [], None]
assert c["ls"] == [['a"b', None, "null", ""], [], None]
assert c["ly"] == [[b"\\x01\\x02", None, b""], [], None]
assert c["j"][0] == '{"n":1.10}'
assert math.isnan(c["lf"][0][0]) and math.copysign(1, c["lf"][0][1]) == -1 and c["lf"][0][2] is None
assert c["e"][0][1] == 0 and math.copysign(1, c["e"][0][1]) == -1 and len(c["e"][1]) == 3
print("same")
`;
      const out = execFileSync(python, ['-c', script, parquet], { encoding: 'utf8' });
      assert.match(out, /same/);
    } finally {
      await on.close();
    }
  });
});
