import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { open, readdir, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { followJob } from '../../client/followJob';
import type { DatasetVersion, TrainingSetInfo, TrainingSetRequest, VerifyAnswer } from '../../contract/api';
import { evidence } from './evidence';
import { byLibrary, python } from './support/python';
import { PYTHON, ROOT, sharedStore, type Store } from './support/store';

const HOUR_S = 3_600;
const DAY_S = 86_400;
/** The sample's views as a program that knows nothing of Feature Loft joins them: file, key, time, time to live, columns. */
const SAMPLE_VIEWS = [
  {
    ...{ file: 'weather.csv', key: 'origin', time: 'time_hour', ttl: 3 * HOUR_S },
    columns: {
      ...{ temp: 'temp', dew_point: 'dewp', humidity: 'humid', wind_direction: 'wind_dir', wind_speed: 'wind_speed' },
      ...{ wind_gust: 'wind_gust', precipitation: 'precip', pressure: 'pressure', visibility: 'visib' },
    },
  },
  {
    ...{ file: 'carrier_delays.csv', key: 'carrier', time: 'event_timestamp', ttl: 2 * DAY_S },
    columns: {
      ...{ flights: 'flights', cancelled: 'cancelled', mean_dep_delay: 'mean_dep_delay', late_share: 'late_share' },
    },
  },
  {
    ...{ file: 'planes.parquet', key: 'tailnum', time: 'event_timestamp', ttl: null },
    columns: { built: 'year', engines: 'engines', seats: 'seats', manufacturer: 'manufacturer', engine: 'engine' },
  },
];

describe('offline', function () {
  this.timeout(300_000);
  let store: Store;
  before(async () => {
    store = await sharedStore();
    await store.sample();
  });

  it('upload training data → stored', async function () {
    const first = await uploadCsv(store, 'orders', [
      'order,at,amount,note',
      '1,2024-01-01T00:00:00.000001Z,10.5,"a, b"',
      '9007199254740993,2024-01-02T00:00:00Z,-0.0,',
      '3,2024-01-03T00:00:00Z,NaN,""',
    ]);
    assert.deepEqual([first.version, first.rows], [1, 3]);
    const second = (await byLibrary(
      store,
      `
import pandas as pd
frame = pd.DataFrame({"order": [4, 5], "at": pd.to_datetime(["2024-01-04", "2024-01-05"], utc=True), "amount": [1.5, None], "note": ["x", "y"]})
dataset = store.upload("orders", frame, mode="append")
print(json.dumps(dataset.info))`,
    )) as DatasetVersion;
    assert.deepEqual([second.version, second.rows, second.mode], [2, 5, 'append']);

    // The files themselves, by another program.
    const look = `
import hashlib, pyarrow as pa, pyarrow.parquet as pq
def rows(files):
    return pa.concat_tables([pq.read_table(file) for file in files]).sort_by("__loft_row").drop_columns(["__loft_row"])
`;
    const stored = await python(
      `${look}
table = rows(given)
print(json.dumps([[str(value) for value in column.to_pylist()] for column in table.columns]))`,
      second.files.map(({ file }) => join(store.dataDir, file)),
    );
    assert.deepEqual(stored, [
      ['1', '9007199254740993', '3', '4', '5'],
      [
        ...['2024-01-01 00:00:00.000001+00:00', '2024-01-02 00:00:00+00:00', '2024-01-03 00:00:00+00:00'],
        ...['2024-01-04 00:00:00+00:00', '2024-01-05 00:00:00+00:00'],
      ],
      ['10.5', '-0.0', 'nan', '1.5', 'None'],
      ['a, b', 'None', '', 'x', 'y'],
    ]);
    for (const { file, sha256, bytes } of second.files) {
      const content = await readFile(join(store.dataDir, file));
      assert.deepEqual([sha256Of(content), content.length], [sha256, bytes]);
    }

    // 327,550 real rows, compared with the file that was uploaded, row by row.
    const flights = await store.flights();
    const compared = (await python(
      `${look}
uploaded = pq.read_table(given["uploaded"])
table = rows(given["stored"]).cast(uploaded.schema)
print(json.dumps({"rows": table.num_rows, "equal": table.equals(uploaded), "late": sum(table["late"].to_pylist())}))`,
      {
        uploaded: join(store.dataDir, 'sample', 'flights.parquet'),
        stored: flights.files.map(({ file }) => join(store.dataDir, file)),
      },
    )) as { rows: number; equal: boolean; late: number };
    assert.deepEqual([compared.rows, compared.equal], [flights.rows, true]);

    // Version 1 is still what it was.
    const old = await store.client.stream('datasetData', {
      params: { name: 'orders' },
      query: { version: 1 },
      format: 'ndjson',
    });
    assert.equal(
      await textOf(old),
      '{"order":1,"at":"2024-01-01T00:00:00.000001Z","amount":10.5,"note":"a, b"}\n' +
        '{"order":9007199254740993,"at":"2024-01-02T00:00:00Z","amount":-0.0,"note":null}\n' +
        '{"order":3,"at":"2024-01-03T00:00:00Z","amount":"NaN","note":""}\n',
    );
    const registered = await store.sql(
      `SELECT name || ' v' || version || ' ' || rows AS set FROM registry.datasets WHERE name IN ('orders', 'flights') ORDER BY 1`,
    );
    assert.deepEqual(
      registered.map(({ set }) => set),
      [`flights v1 ${flights.rows}`, 'orders v1 3', 'orders v2 5'],
    );
    evidence(
      this,
      'orders: 3 rows of CSV by HTTP, 2 rows of a data frame appended by the Python package; flights: the sample’s Parquet file',
      `pyarrow on the lake's own files: 5 of 5 orders, value by value, and ${compared.rows} of ${flights.rows} flights equal to the uploaded file (${compared.late} late); orders v1 reads as before the append`,
      { datasets: 2, versions: 3, 'files hashed': second.files.length, 'rows compared': compared.rows + 5 },
    );
  });

  it('modify training data → live features unchanged (row hashes)', async function () {
    const spine = (rows: string[]) => uploadCsv(store, 'departures', ['tailnum,event_timestamp,late', ...rows]);
    const now = new Date().toISOString();
    const row = (tailnum: string, late: boolean): string => `${tailnum},${now},${late}`;
    const before = await hashesOfFeatureTables(store);
    const live = await onlineAnswers(store);

    await spine([row('N236JB', true), row('N929DL', false)]);
    const request: TrainingSetRequest = {
      ...{ name: 'departures', spine: { dataset: 'departures' }, eventTimestamp: 'event_timestamp' },
      ...{ labels: ['late'], features: ['plane_facts:seats', 'plane_facts:built'] },
    };
    const first = await trainingSet(store, request);
    assert.deepEqual([first.version, first.rows], [1, 2]);
    assert.equal((await trainingSet(store, request)).id, first.id, 'the same inputs are the same set');
    const firstFile = await fileOf(store, first);

    await uploadCsv(store, 'departures', ['tailnum,event_timestamp,late', row('N16703', true)], 'append');
    const second = await trainingSet(store, request);
    assert.deepEqual([second.version, second.rows], [2, 3]);
    await spine([row('N929DL', true)]);
    const third = await trainingSet(store, request);
    assert.deepEqual([third.version, third.rows], [3, 1]);
    assert.equal(new Set([first.id, second.id, third.id]).size, 3);
    // Also what the views were loaded from: replacing a dataset moves no value.
    await uploadCsv(store, 'plane_facts', ['tailnum,event_timestamp,year', `N929DL,${now},1903`]);

    const after = await hashesOfFeatureTables(store);
    assert.deepEqual(after, before);
    assert.deepEqual(await onlineAnswers(store), live);
    assert.equal(await fileOf(store, first), firstFile, 'the first set is what it was, byte for byte');
    const rows = Object.values(before).reduce((sum, table) => sum + table.rows, 0);
    evidence(
      this,
      'dataset departures: uploaded, appended to, replaced; dataset plane_facts replaced; 3 training sets built of them',
      `${Object.keys(before).length} feature tables with ${rows} rows: the hash of every row and of who wrote it (xmin) is the same before and after, e.g. plane_facts_v1 ${before['plane_facts_v1']?.hash.slice(0, 16)}…; the online answers too; training set v1 is byte for byte what it was`,
      {
        tables: Object.keys(before).length,
        rows,
        'training sets': `${first.rows}, ${second.rows} and ${third.rows} rows`,
      },
    );
  });

  it('batch job on training data → completes, model trained', async function () {
    const flights = await store.flights();
    const set = await trainingSet(store, {
      ...{ name: 'flight_delays', spine: { dataset: 'flights', version: flights.version } },
      ...{ eventTimestamp: 'event_timestamp', labels: ['late'], service: 'delay_model' },
    });
    assert.equal(set.rows, flights.rows);

    // Is it the right data? pandas joins the sample's own files in its own way.
    const oracle = (await python(
      `
import os, pandas as pd
spine = pd.read_parquet(os.path.join(given["sample"], "flights.parquet"))
found = pd.read_parquet(given["set"])
compared = present = 0
for view in given["views"]:
    path = os.path.join(given["sample"], view["file"])
    values = pd.read_csv(path) if path.endswith(".csv") else pd.read_parquet(path)
    values["known_at"] = pd.to_datetime(values[view["time"]], utc=True).astype("datetime64[us, UTC]")
    columns = {old: "f_" + new for new, old in view["columns"].items()}
    values = values[[view["key"], "known_at", *columns]].rename(columns=columns).sort_values("known_at", kind="stable")
    left = spine[[view["key"], "event_timestamp"]].reset_index().sort_values("event_timestamp", kind="stable")
    age = None if view["ttl"] is None else pd.Timedelta(seconds=view["ttl"])
    joined = pd.merge_asof(left, values, left_on="event_timestamp", right_on="known_at", by=view["key"], tolerance=age)
    joined = joined.sort_values("index")
    for name in view["columns"]:
        ours, theirs = found[name].reset_index(drop=True), joined["f_" + name].reset_index(drop=True)
        gone = ours.isna()
        assert len(ours) == len(theirs) and (gone == theirs.isna()).all(), name
        assert (ours[~gone] == theirs[~gone]).all(), name
        compared += len(ours)
        present += int((~gone).sum())
assert found["late"].tolist() == spine["late"].tolist()
print(json.dumps({"compared": compared, "present": present}))`,
      { sample: join(store.dataDir, 'sample'), set: join(store.dataDir, fileNamed(set)), views: SAMPLE_VIEWS },
    )) as { compared: number; present: number };
    assert.equal(oracle.compared, set.rows * 18);

    const started = await store.client.call('startJob', {
      body: { kind: 'training', trainingSet: set.name, version: set.version, label: 'late', testFraction: 0.25 },
    });
    const progress: number[] = [];
    const job = await followJob(store.client, started, { onProgress: (at) => progress.push(at.progress) });
    assert.equal(job.state, 'succeeded', job.error);
    assert.equal(job.trainingSet?.id, set.id);
    assert.deepEqual(progress, [...progress].sort(), 'progress only grows');
    const { score, baseline, metric, trainRows, testRows } = job.metrics as Record<string, number>;
    assert.ok(score !== undefined && baseline !== undefined && score > baseline + 0.1, `${score} against ${baseline}`);
    assert.equal((trainRows ?? 0) + (testRows ?? 0), set.rows);
    for (const { file, sha256 } of job.files) {
      assert.equal(sha256Of(await readFile(join(store.dataDir, file))), sha256, file);
    }
    const model = job.files.find(({ file }) => file.endsWith('model.joblib'));
    assert.ok(model, 'a model was left');
    const kind = await python(
      'import joblib\nprint(json.dumps(type(joblib.load(given)).__name__))',
      join(store.dataDir, model.file),
    );
    const [row] = await store.sql('SELECT state FROM registry.jobs WHERE id = $1', [job.id]);
    assert.equal(row?.['state'], 'succeeded');
    evidence(
      this,
      `training set ${set.name} v${set.version} (${set.rows} rows, ${set.columns.length} columns, id ${set.id.slice(0, 16)}…) and a training job on it`,
      `the job succeeded; its model loads as ${String(kind)}; all ${oracle.compared} joined values (${oracle.present} present) are those that pandas' merge_asof takes from the sample's files`,
      {
        ...{ metric: String(metric), score: score.toFixed(4), baseline: baseline.toFixed(4) },
        ...{ 'rows trained on': trainRows ?? 0, 'rows tested on': testRows ?? 0 },
      },
    );
  });

  it('access in a Jupyter notebook → usable for training', async function () {
    await store.flights();
    const { stdout } = await promisify(execFile)(PYTHON, [join(ROOT, 'test', 'notebook', 'run_notebook.py')], {
      env: { ...process.env, FEATURELOFT_DATA: store.dataDir },
      timeout: 280_000,
    });
    const found = JSON.parse(stdout) as { cells: number; seconds: number; score: number; alone: number };
    assert.ok(found.cells >= 6 && found.score > found.alone);
    const [set] = await store.sql(`SELECT count(*) AS sets FROM registry.training_sets WHERE name = 'flight_delays'`);
    evidence(
      this,
      'examples/nycflights/train.ipynb under a real ipykernel: connects, searches, reads online, builds flight_delays, trains twice',
      `all ${found.cells} code cells ran; a PRESENT value was read; ROC AUC ${found.score} with the features, ${found.alone} with the flight's own columns alone`,
      {
        'ROC AUC': found.score,
        'without features': found.alone,
        seconds: found.seconds,
        'versions of the set': Number(set?.['sets']),
      },
    );
  });

  it('integrity over time → verify clean, a flipped byte is named', async function () {
    await store.flights();
    const set = await trainingSet(store, {
      ...{ name: 'checked', spine: { dataset: 'flights' }, eventTimestamp: 'event_timestamp', labels: ['late'] },
      ...{ features: ['airport_weather:temp'] },
    });
    const verify = (): Promise<VerifyAnswer> => store.client.call('verify', { body: {} });
    const clean = await verify();
    const files = await parquetFiles(store);
    assert.deepEqual(clean.bad, []);
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    assert.deepEqual(
      [clean.checked, clean.bytes],
      [files.length + 1, bytes],
      'every Parquet file on disk, and the catalog',
    );
    await store.restart('in order');
    assert.deepEqual(await verify(), clean, 'after a restart');

    const history = files.find(({ file }) => /^lake\/data\/main\/airport_weather_v1\//.test(file));
    const flights = files.find(({ file }) => /^lake\/data\/datasets\/flights\//.test(file));
    const trained = fileNamed(set);
    assert.ok(history && flights);
    const named: string[] = [];
    for (const [file, table] of [
      [history.file, 'airport_weather_v1'],
      [flights.file, 'datasets.flights'],
      [trained, `training/checked/v${set.version}`],
    ] as const) {
      for (const place of ['first', 'middle', 'last'] as const) {
        const back = await flipByte(join(store.dataDir, file), place);
        const { bad } = await verify();
        await back();
        assert.equal(bad.length, 1, `${place} byte of ${file}: ${JSON.stringify(bad)}`);
        assert.deepEqual([bad[0]?.file, bad[0]?.table, bad[0]?.problem], [file, table, 'changed']);
        assert.ok(
          bad[0]?.trainingSets.some(({ name }) => name === 'checked'),
          'and which training set it touches',
        );
        named.push(`${place} byte of ${file}`);
      }
    }
    const aside = join(store.dataDir, `${trained}.aside`);
    await rename(join(store.dataDir, trained), aside);
    const missing = await verify();
    await rename(aside, join(store.dataDir, trained));
    assert.deepEqual(
      missing.bad.map(({ file, problem }) => [file, problem]),
      [[trained, 'missing']],
    );
    assert.deepEqual(await verify(), clean, 'with every byte back in its place');
    evidence(
      this,
      `one bit flipped in ${named.length} places (the first, a middle and the last byte of a history file, a dataset file and a training set's file), each put back; a file moved away`,
      `verify named just that file each time, e.g. ${history.file} with table airport_weather_v1 and training set checked; the moved one as missing; clean before, after a restart and at the end`,
      { 'files checked': clean.checked, bytes: clean.bytes, flips: named.length, named: named.length },
    );
  });
});

function uploadCsv(
  store: Store,
  name: string,
  lines: string[],
  mode: 'replace' | 'append' = 'replace',
): Promise<DatasetVersion> {
  const text = `${lines.join('\n')}\n`;
  return store.client.call('uploadDataset', { params: { name }, query: { mode }, rows: { text, type: 'text/csv' } });
}

async function trainingSet(store: Store, body: TrainingSetRequest): Promise<TrainingSetInfo> {
  const made = await store.client.call('createTrainingSet', { body });
  assert.ok('id' in made);
  return made;
}

function fileNamed({ files }: TrainingSetInfo): string {
  const [file, ...more] = files;
  assert.ok(file && more.length === 0, 'a training set is one file');
  return file.file;
}

async function fileOf(store: Store, set: TrainingSetInfo): Promise<string> {
  return sha256Of(await readFile(join(store.dataDir, fileNamed(set))));
}

function sha256Of(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

async function textOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

/** Of every table with live values: how many rows, and a hash of all of them with the transaction that wrote each. */
async function hashesOfFeatureTables(store: Store): Promise<Record<string, { rows: number; hash: string }>> {
  const tables = await store.sql(
    `SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'features' ORDER BY 1`,
  );
  assert.ok(tables.length >= 3);
  const hashes: Record<string, { rows: number; hash: string }> = {};
  for (const { name } of tables) {
    const [found] = await store.sql(
      `SELECT count(*) AS rows, md5(coalesce(string_agg(row, '' ORDER BY row), '')) AS hash
       FROM (SELECT md5(xmin::text || t::text) AS row FROM features."${name}" t) hashed`,
    );
    hashes[String(name)] = { rows: Number(found?.['rows']), hash: String(found?.['hash']) };
  }
  return hashes;
}

async function onlineAnswers(store: Store): Promise<unknown> {
  const entities = {
    ...{ origin: ['JFK', 'LGA', 'EWR'], carrier: ['B6', 'DL', 'UA'], tailnum: ['N236JB', 'N929DL', 'N16703'] },
  };
  const { columns } = await store.client.call('onlineGet', { body: { service: 'delay_model', entities } });
  return columns;
}

/** What stands on disk, whatever any catalog says. */
async function parquetFiles(store: Store): Promise<{ file: string; bytes: number }[]> {
  const found: { file: string; bytes: number }[] = [];
  for (const folder of ['lake', 'training']) {
    const names = await readdir(join(store.dataDir, folder), { recursive: true });
    for (const name of names.filter((one) => one.endsWith('.parquet'))) {
      const file = `${folder}/${name}`;
      found.push({ file, bytes: (await stat(join(store.dataDir, file))).size });
    }
  }
  return found;
}

/** Flips one bit; the answer puts it back. */
async function flipByte(path: string, place: 'first' | 'middle' | 'last'): Promise<() => Promise<void>> {
  const { size } = await stat(path);
  const at = { first: 0, middle: Math.floor(size / 2), last: size - 1 }[place];
  const flip = async (): Promise<void> => {
    const handle = await open(path, 'r+');
    try {
      const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, at);
      await handle.write(Buffer.from([(buffer[0] ?? 0) ^ 1]), 0, 1, at);
    } finally {
      await handle.close();
    }
  };
  await flip();
  return flip;
}
