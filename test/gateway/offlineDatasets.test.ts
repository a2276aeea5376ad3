import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { printJson } from '../../contract/json';
import type { DatasetVersion } from '../../contract/api';
import type { LoftError } from '../../contract/errors';
import type { FileFormat } from '../../server/offline/protocol';
import { openLake, openTestStore, scratchFolder, textBody, type TestStore } from './support/offline';

const EXAMPLES = join(__dirname, '..', '..', 'examples', 'nycflights');

const ARROW_TYPES = `
  'us': pa.array([1_700_000_000_000_000, None], pa.timestamp('us', tz='America/New_York')),
  'naive': pa.array([1_700_000_000_000_000_000, None], pa.timestamp('ns')),
  'dict': pa.array(['a', None]).dictionary_encode(),
  'day': pa.array([dt.date(2024, 1, 1), None]),
  'list': pa.array([[1.5, None], None], pa.list_(pa.float64())),
  'dec': pa.array([decimal.Decimal('1.50'), None], pa.decimal128(10, 2)),
  'bin': pa.array([b'\\x00\\x01', None]),
  'nested': pa.array([{'a': 1}, None]),
  'u64': pa.array([2**64 - 1, None], pa.uint64()),
  'i8': pa.array([5, None], pa.int8()),
  'half': pa.array([1.5, None], pa.float16()),`;

/** A Parquet file with the columns of a Python dict's members. */
function arrowFile(members: string): Buffer {
  const script = `
import pyarrow as pa, pyarrow.parquet as pq, datetime as dt, decimal, sys
pq.write_table(pa.table({${members}}), sys.stdout.buffer)`;
  return execFileSync(join(__dirname, '..', '..', '.venv', 'bin', 'python'), ['-c', script]);
}

describe('datasets', function () {
  this.timeout(60_000);
  let on: TestStore;
  before(async () => {
    on = await openTestStore();
    await on.store.start();
  });
  after(() => on.close());

  function upload(
    name: string,
    text: string,
    format: FileFormat = 'csv',
    mode: 'replace' | 'append' = 'replace',
  ): Promise<DatasetVersion> {
    return on.store.uploadDataset(name, textBody(text), { mode, format });
  }
  async function exported(name: string, format: FileFormat = 'ndjson', version?: number): Promise<string> {
    const file = await on.store.exportDataset(name, version, format);
    try {
      return readFileSync(file.path, 'utf8');
    } finally {
      await file.release();
    }
  }
  async function refusal(work: Promise<unknown>): Promise<LoftError> {
    try {
      await work;
    } catch (error) {
      return error as LoftError;
    }
    return assert.fail('it was not refused');
  }

  it('types a CSV by all its values, and keeps rows, order, nulls and empty texts', async () => {
    const csv =
      'id,name,score,day,at,zip\n2,"a ""b""\nc",1.5,2024-02-29,2024-01-01T00:00:00.000001+01:00,007\n1,"",,,,\n';
    const stored = await upload('people', csv);
    assert.deepEqual(
      stored.columns.map(({ name, type }) => `${name} ${type}`),
      ['id int64', 'name string', 'score float64', 'day date', 'at timestamp', 'zip string'],
    );
    assert.equal(stored.rows, 2);
    assert.equal(
      await exported('people'),
      '{"id":2,"name":"a \\"b\\"\\nc","score":1.5,"day":"2024-02-29","at":"2023-12-31T23:00:00.000001Z","zip":"007"}\n' +
        '{"id":1,"name":"","score":null,"day":null,"at":null,"zip":null}\n',
    );
  });

  it('gives a CSV back that reads as the same content', async () => {
    const first = await upload('round', 'a,b\n1,\n2,""\n3," x, ""y"" "\n');
    const again = await upload('round_again', await exported('round', 'csv'));
    assert.equal(again.sha256, first.sha256);
  });

  it('replaces rows and columns at once, and keeps the version before', async () => {
    const first = await upload('weather', 'a,b\n1,x\n');
    const second = await upload('weather', 'c\n1.5\n2.5\n');
    assert.deepEqual([first.version, second.version], [1, 2]);
    assert.equal(await exported('weather'), '{"c":1.5}\n{"c":2.5}\n');
    assert.equal(await exported('weather', 'ndjson', 1), '{"a":1,"b":"x"}\n');
  });

  it('appends in the columns’ types, and hashes as one upload of all rows would', async () => {
    await upload('grown', 'a,b\n1,1.5\n');
    const appended = await upload('grown', 'b,a\n2,7\n', 'csv', 'append');
    assert.equal(appended.version, 2);
    assert.equal(appended.rows, 2);
    assert.equal(await exported('grown'), '{"a":1,"b":1.5}\n{"a":7,"b":2}\n');
    const whole = await upload('whole', 'a,b\n1,1.5\n7,2.0\n');
    assert.equal(appended.sha256, whole.sha256);
  });

  it('refuses to append what does not fit, with every place', async () => {
    await upload('fixed', 'a,b\n1,x\n');
    const columns = await refusal(upload('fixed', 'a,c\n1,x\n', 'csv', 'append'));
    assert.equal(columns.code, 'bad_columns');
    assert.deepEqual(
      columns.problems.map(({ code, field }) => `${code} ${field}`),
      ['missing_column b', 'unknown_column c'],
    );
    const values = await refusal(upload('fixed', 'a,b\n1,x\nfive,y\n2.5,z\n', 'csv', 'append'));
    assert.equal(values.code, 'bad_values');
    assert.deepEqual(
      values.problems.map(({ row, found, expected }) => `${row} ${found} ${expected}`),
      ['1 "five" int64', '2 "2.5" int64'],
    );
    assert.equal((await on.store.datasetVersion('fixed')).version, 1);
  });

  it('leaves behind rows of an append whose answer was lost', async () => {
    await upload('lost', 'a\n1\n');
    await upload('lost', 'a\n2\n', 'csv', 'append');
    await on.database.db.query(`DELETE FROM registry.datasets WHERE name = 'lost' AND version = 2`);
    const again = await upload('lost', 'a\n2\n', 'csv', 'append');
    assert.equal(again.rows, 2);
    assert.equal(await exported('lost'), '{"a":1}\n{"a":2}\n');
  });

  for (const [what, csv, code, problems] of [
    ['ragged rows', 'a,b\n1\n1,2\n1,2,3\n', 'bad_csv', ['line 2: 1 fields', 'line 4: 3 fields']],
    ['a quote that is never closed', 'a,b\n1,2\n3,"x\n', 'bad_csv', ['line 3: "3,\\"x\\n"']],
    [
      'a quote of the header that is never closed',
      'a,"b\n1,2\n',
      'bad_csv',
      ['line 1: a quote out of place or never closed, or no end within 1 MB'],
    ],
    [
      'a header without an end',
      'a,'.repeat(600_000),
      'bad_csv',
      ['line 1: a quote out of place or never closed, or no end within 1 MB'],
    ],
    ['an empty file', '', 'empty_file', []],
    ['a file of blanks', ' \n\n', 'empty_file', []],
    ['two columns of one name but for case', 'a,A\n1,2\n', 'bad_columns', [': "A", as column 1']],
    ['a column without a name', 'a,,b\n1,2,3\n', 'bad_columns', [': no name']],
    ['a column that the lake has itself', 'a,Filename\n1,2\n', 'bad_columns', [': "Filename"']],
    ['a NUL', 'a\nx\0y\n', 'bad_csv', [': NUL']],
    ['a line break of another kind', 'a,b\n1,2\r\n3,4\n', 'bad_csv', [': a line break or a quote out of place']],
  ] as const) {
    it(`refuses a CSV with ${what}`, async () => {
      const error = await refusal(upload('bad', csv));
      assert.equal(error.status, 422);
      assert.equal(error.code, code);
      assert.deepEqual(
        error.problems.map(({ path, found }) => `${path ?? ''}: ${found}`),
        problems,
      );
    });
  }

  it('takes semicolons, a byte order mark, CRLF and quoted names', async () => {
    const stored = await upload('european', '\ufeffa;"b ""1,2;"""\r\n1;2,5\r\n');
    assert.deepEqual(
      stored.columns.map(({ name, type }) => `${name} ${type}`),
      ['a int64', 'b "1,2;" string'],
    );
  });

  it('types JSON lines by their values and keeps big integers, -0.0, lists and nested values', async () => {
    const lines = [
      '{"i":9007199254740993,"f":-0.0,"s":"5","l":[1,null],"o":{"a":1.10},"t":"2024-01-01T00:00:00Z","e":[]}',
      '{"f":"NaN","extra":true}',
    ];
    const stored = await upload('lines', lines.join('\n'), 'ndjson');
    assert.deepEqual(
      stored.columns.map(({ name, type }) => `${name} ${type}`),
      ['i int64', 'f float64', 's string', 'l list<int64>', 'o json', 't timestamp', 'e list<string>', 'extra bool'],
    );
    assert.equal(
      (await exported('lines')).split('\n')[0],
      '{"i":9007199254740993,"f":-0.0,"s":"5","l":[1,null],"o":{"a":1.10},"t":"2024-01-01T00:00:00Z","e":[],"extra":null}',
    );
  });

  it('refuses bad JSON lines with their numbers', async () => {
    const error = await refusal(upload('bad', '{"a":1}\n{"a":\n[1]\n{"a":1,"a":2}\n', 'ndjson'));
    assert.equal(error.code, 'bad_ndjson');
    assert.deepEqual(
      error.problems.map(({ path, code }) => `${path} ${code}`),
      ['line 2 bad_json', 'line 3 bad_ndjson', 'line 4 duplicate_key'],
    );
  });

  it('refuses a Parquet file that was cut off, and what is none', async () => {
    const whole = readFileSync(join(EXAMPLES, 'planes.parquet'));
    for (const bytes of [whole.subarray(0, whole.length / 2), Buffer.from('PAR1'), Buffer.from('no parquet at all')]) {
      const error = await refusal(
        on.store.uploadDataset('cut', Readable.from([bytes]), { mode: 'replace', format: 'parquet' }),
      );
      assert.equal(error.code, 'bad_parquet', error.detail);
    }
  });

  it('types a Parquet file as it types itself, and keeps as text or json what has no type here', async () => {
    const stored = await on.store.uploadDataset('arrow', Readable.from([arrowFile(ARROW_TYPES)]), {
      mode: 'replace',
      format: 'parquet',
    });
    assert.deepEqual(
      stored.columns.map(({ name, type }) => `${name} ${type}`),
      [
        ...['us timestamp', 'naive string', 'dict string', 'day date', 'list list<float64>', 'dec decimal(10,2)'],
        ...['bin bytes', 'nested json', 'u64 decimal(20,0)', 'i8 int32', 'half float32'],
      ],
    );
    assert.equal(
      (await exported('arrow')).split('\n')[0],
      '{"us":"2023-11-14T22:13:20Z","naive":"2023-11-14T22:13:20","dict":"a","day":"2024-01-01","list":[1.5,null],' +
        '"dec":"1.50","bin":"AAE=","nested":{"a":1},"u64":"18446744073709551615","i8":5,"half":1.5}',
    );
  });

  it('refuses Parquet times in nanoseconds, whose last digits would be lost', async () => {
    const bytes = arrowFile(`'ns': pa.array([1_700_000_000_000_000_123], pa.timestamp('ns', tz='UTC'))`);
    const error = await refusal(
      on.store.uploadDataset('ns', Readable.from([bytes]), { mode: 'replace', format: 'parquet' }),
    );
    assert.equal(error.code, 'bad_values');
    assert.match(error.detail, /ns: found times in nanoseconds, expected microseconds/);
  });

  it('stores the sample’s Parquet, and exports the same content as CSV, JSON lines and Parquet', async () => {
    const bytes = readFileSync(join(EXAMPLES, 'planes.parquet'));
    const first = await on.store.uploadDataset('planes', Readable.from([bytes]), {
      mode: 'replace',
      format: 'parquet',
    });
    assert.equal(first.rows, 3322);
    const file = await on.store.exportDataset('planes', undefined, 'parquet');
    const again = await on.store.uploadDataset('planes_again', Readable.from([readFileSync(file.path)]), {
      mode: 'replace',
      format: 'parquet',
    });
    await file.release();
    assert.equal(again.sha256, first.sha256);
  });

  it('describes a dataset: statistics, preview, and what its columns are for', async () => {
    const rows = Array.from(
      { length: 40 },
      (_, n) => `A${n % 10},2024-01-0${1 + Math.floor(n / 10)}T00:00:00Z,${n},t${n % 2}`,
    );
    await upload('described', `plane_id,event_time,speed,kind\n${rows.join('\n')}\n`);
    const info = await on.store.dataset('described');
    assert.equal(info.statistics['speed']?.mean, 19.5);
    assert.deepEqual([info.statistics['speed']?.rows, info.statistics['speed']?.distinct], [40, 40]);
    assert.equal(
      info.statistics['speed']?.histogram?.counts.reduce((sum, count) => sum + count, 0),
      40,
    );
    assert.equal(printJson(info.statistics['kind']?.top), '[{"value":"t0","count":20},{"value":"t1","count":20}]');
    assert.equal(printJson(info.statistics['event_time']?.max), '"2024-01-04T00:00:00Z"');
    assert.equal(
      printJson(info.preview[0]),
      '{"plane_id":"A0","event_time":"2024-01-01T00:00:00Z","speed":0,"kind":"t0"}',
    );
    assert.deepEqual(info.inference.keys.columns, ['plane_id']);
    assert.deepEqual(info.inference.eventTimestamp.columns, ['event_time']);
    assert.deepEqual(info.inference.createdTimestamp.columns, []);
    assert.match(info.inference.keys.reason, /plane_id has no nulls, and no value twice at each event_time/);
  });

  it('explains why times without a zone are text', async () => {
    await upload('zoneless', 'k,time_hour\na,2024-01-01 00:00:00\n');
    const { inference } = await on.store.dataset('zoneless');
    assert.match(inference.eventTimestamp.reason, /time_hour holds times without a zone/);
  });

  it('reads a dataset as cells of other types, and names the rows that don’t fit', async () => {
    await upload('source', 'k,at,n\na,2024-07-01 12:00:00,1\nb,2024-07-01 12:00:00,2.5\n');
    const rows = await on.store.datasetRows('source');
    try {
      const { path } = await rows.cells([
        { name: 'k', type: 'string' },
        { name: 'at', type: 'timestamp', timezone: 'America/New_York' },
        { name: 'n', type: 'int32' },
      ]);
      assert.deepEqual(
        readFileSync(path, 'utf8')
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line) as unknown),
        [
          ['a', '2024-07-01T16:00:00Z', '1'],
          { problems: [{ field: 'n', code: 'not_integer', found: '2.5', expected: 'a whole number (int32)' }] },
        ],
      );
    } finally {
      await rows.release();
    }
  });

  it('lists by name, in pages', async () => {
    const first = await on.store.datasets({ limit: 2 });
    assert.equal(first.items.length, 2);
    const second = await on.store.datasets({ limit: 1_000, cursor: first.nextCursor });
    const names = [...first.items, ...second.items].map((item) => item.name);
    assert.deepEqual(names, [...new Set(names)].sort());
    assert.equal(second.nextCursor, undefined);
  });

  it('names what is not there', async () => {
    assert.match((await refusal(on.store.dataset('peple'))).detail, /Did you mean people/);
    assert.equal((await refusal(on.store.dataset('people', 9))).code, 'unknown_version');
    assert.equal((await refusal(upload('Bad-Name', 'a\n1\n'))).code, 'bad_name');
  });

  it('leaves no file in tmp', async () => {
    const { readdirSync } = await import('node:fs');
    assert.deepEqual(readdirSync(on.folder.tmpDir), ['spill']);
  });
});

describe('lake', function () {
  this.timeout(30_000);
  it('answers a COMMIT only when a snapshot proves it', async () => {
    const folder = await scratchFolder();
    const lake = await openLake(folder.dir);
    await lake.write(async (session) => {
      await session.run('CREATE TABLE lake.main.t (a INTEGER)');
      return {};
    });
    await assert.rejects(
      lake.write(async (session) => {
        await session.run('INSERT INTO lake.main.t VALUES (1)');
        await session.run(`SELECT error('broken')`).catch(() => undefined);
        return {};
      }),
    );
    assert.equal(await lake.read((session) => session.count('SELECT count(*) FROM lake.main.t')), 0);
    await lake.close();
    await folder.remove();
  });
});
