import assert from 'node:assert/strict';
import { writeFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { timestampFromMicros, type Cell } from '../../contract/cells';
import { buildTrainingSet } from '../../server/offline/worker/buildTrainingSet';
import { drainChunks } from '../../server/offline/worker/drainChunks';
import type { Lake } from '../../server/offline/worker/lake';
import { writeRows } from '../../server/offline/worker/rowFile';
import { quoteText } from '../../server/offline/worker/lake';
import type { BuiltTrainingSet, TrainingSetBuild } from '../../server/offline/protocol';
import { openLake, scratchFolder } from './support/offline';

/** A row of history: keys in the order of its view's, then what the order is made of, then one feature. */
interface HistoryRow {
  keys: string[];
  event: number;
  created: number;
  seq: number;
  value: Cell;
}
interface SpineRow {
  a: Cell;
  b: Cell;
  time: number | null;
}
interface Case {
  views: { table: string; keys: ('a' | 'b')[]; ttlSeconds: number | undefined; rows: HistoryRow[] }[];
  spine: SpineRow[];
  asKnownAt: boolean;
}

const KEY_TYPES = { a: 'int64', b: 'string' };
const START = 1_700_000_000n;
/** Test times are whole seconds after a start, so that a ttl in seconds can be met exactly. */
const cellOf = (second: number): string => timestampFromMicros((START + BigInt(second)) * 1_000_000n);

/** The rule of docs/semantics.md, row by row and without a thought for speed. */
function oracle({ views, spine, asKnownAt }: Case): Cell[][] {
  return spine.map(({ a, b, time }) =>
    views.map(({ keys, ttlSeconds, rows }): Cell => {
      if (time === null) return null;
      let best: HistoryRow | undefined;
      for (const row of rows) {
        const same = keys.every((key, index) => row.keys[index] === (key === 'a' ? a : b));
        if (!same || row.event > time || (asKnownAt && row.created > time)) continue;
        if (best === undefined || isGreater(row, best)) best = row;
      }
      if (best === undefined) return null;
      return ttlSeconds !== undefined && time - best.event > ttlSeconds ? null : best.value;
    }),
  );
}

function isGreater(one: HistoryRow, other: HistoryRow): boolean {
  if (one.event !== other.event) return one.event > other.event;
  if (one.created !== other.created) return one.created > other.created;
  return one.seq > other.seq;
}

/** mulberry32: the same cases at each run. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

let batch = 0;

function randomCase(seed: number): Case {
  const random = randomFrom(seed);
  const keyChoices: ('a' | 'b')[][] = [['a'], ['b'], ['a', 'b'], ['b', 'a']];
  const key = { a: () => ['1', '11', '12', '2'][random(4)] ?? '1', b: () => ['', '1', '12', 'é'][random(4)] ?? '' };
  const views = Array.from({ length: 1 + random(3) }, (_, index) => {
    const keys = keyChoices[random(4)] ?? ['a'];
    return {
      table: `case${seed}_${index}_v1`,
      keys,
      ttlSeconds: random(2) === 0 ? undefined : random(6),
      rows: Array.from({ length: random(5) === 0 ? 0 : 1 + random(60) }, (_, seq) => {
        const event = random(12);
        return {
          keys: keys.map((name) => key[name]()),
          event,
          // Known at once, later, or (a clock that was wrong) before it happened; often at the very same time as others.
          created: random(3) === 0 ? event : random(16),
          seq,
          value: random(6) === 0 ? null : `${seed}-${index}-${seq}`,
        };
      }),
    };
  });
  const length = [1, 2, 9, 63, 64, 65, 66, 130][random(8)] ?? 1;
  const spine = Array.from({ length }, () => ({
    a: random(8) === 0 ? null : key.a(),
    b: random(8) === 0 ? null : key.b(),
    time: random(10) === 0 ? null : random(16),
  }));
  return { views, spine, asKnownAt: random(2) === 0 };
}

describe('point-in-time join against a plain oracle', function () {
  this.timeout(180_000);
  let lake: Lake;
  let folder: Awaited<ReturnType<typeof scratchFolder>>;
  before(async () => {
    folder = await scratchFolder();
    lake = await openLake(folder.dir);
  });
  after(async () => {
    await lake.close();
    await folder.remove();
  });

  async function store(cases: Case[]): Promise<void> {
    const views = cases.flatMap((one) => one.views).filter((view) => view.rows.length > 0);
    const chunks = views.map(({ table, keys, rows }) => {
      const file = join(folder.tmpDir, `${table}.gz`);
      const lines = rows.map((row) =>
        JSON.stringify([...row.keys, row.value, cellOf(row.event), cellOf(row.created), String(row.seq)]),
      );
      writeFileSync(file, gzipSync(`${lines.join('\n')}\n`));
      const columns = [...keys, 'value', 'event_timestamp', 'created_timestamp', 'write_seq'];
      return { batch: ++batch, table, columns, rows: rows.length, clock: cellOf(0), file };
    });
    await drainChunks(lake, {
      epoch: 1,
      chunks,
      tables: views.map(({ table, keys }) => ({
        table,
        keys: keys.map((name) => ({ name, type: KEY_TYPES[name] })),
        features: [{ name: 'value', type: 'string' }],
      })),
    });
  }

  let files = 0;
  async function build(one: Case): Promise<{ built: BuiltTrainingSet; values: Cell[][]; target: string }> {
    const spine = join(folder.tmpDir, `spine-${++files}.ndjson`);
    writeFileSync(
      spine,
      one.spine.map(({ a, b, time }) => `${JSON.stringify([a, b, time === null ? null : cellOf(time)])}\n`).join(''),
    );
    const columns = [
      { name: 'a', type: 'int64' },
      { name: 'b', type: 'string' },
      { name: 'time', type: 'timestamp' },
    ];
    const target = join(folder.tmpDir, `set-${files}.parquet`);
    const request: TrainingSetBuild = {
      target,
      spine: { file: spine, columns },
      spineTypes: columns,
      eventTimestamp: 'time',
      features: one.views.map((_, view) => ({ view, feature: 'value', type: 'string', column: `f${view}` })),
      views: one.views.map(({ table, keys, ttlSeconds }, index) => ({
        name: `view${index}`,
        version: 1,
        table,
        keys: keys.map((name) => ({ name, type: KEY_TYPES[name] })),
        ttlSeconds,
      })),
      asKnownAt: one.asKnownAt,
    };
    const built = await buildTrainingSet(lake, request);
    const rows = `${target}.ndjson`;
    await lake.read((session) =>
      writeRows(session, built.columns, `read_parquet(${quoteText(target)})`, 'ndjson', rows),
    );
    const values = readFileSync(rows, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, Cell>);
    const expected = one.spine.map(({ a, b, time }) => [
      a === null ? null : Number(a),
      b,
      time === null ? null : cellOf(time),
    ]);
    assert.deepEqual(
      values.map((row) => [row['a'], row['b'], row['time']]),
      expected,
      'the spine is kept, in its order',
    );
    return { built, values: values.map((row) => one.views.map((_, view) => row[`f${view}`] ?? null)), target };
  }

  for (const [threshold, seeds] of [
    [64, [1, 70]],
    [0, [71, 140]],
  ] as const) {
    it(`agrees on cases ${seeds[0]} to ${seeds[1]} (asof_loop_join_threshold ${threshold})`, async () => {
      await lake.read((session) => session.run(`SET GLOBAL asof_loop_join_threshold = ${threshold}`));
      const cases = Array.from({ length: seeds[1] - seeds[0] + 1 }, (_, index) => randomCase(seeds[0] + index));
      await store(cases);
      for (const [index, one] of cases.entries()) {
        const { values } = await build(one);
        assert.deepEqual(values, oracle(one), `case ${seeds[0] + index}`);
      }
    });
  }

  it('takes a row that is exactly as old as the ttl, and none that is a microsecond older', async () => {
    const rows = [{ keys: ['1'], event: 0, created: 0, seq: 0, value: 'x' }];
    const one = (ttlSeconds: number): Case => ({
      views: [{ table: `ttl_${ttlSeconds}_v1`, keys: ['a'], ttlSeconds, rows }],
      spine: [{ a: '1', b: null, time: 5 }],
      asKnownAt: false,
    });
    await store([one(5), one(4)]);
    assert.deepEqual((await build(one(5))).values, [['x']]);
    assert.deepEqual((await build(one(4))).values, [[null]]);
  });

  it('orders by availability first only in what is visible (event 10 known at 10, event 5 known at 12, asked at 13)', async () => {
    const one: Case = {
      views: [
        {
          table: 'known_v1',
          keys: ['a'],
          ttlSeconds: undefined,
          rows: [
            { keys: ['1'], event: 10, created: 10, seq: 0, value: 'newer' },
            { keys: ['1'], event: 5, created: 12, seq: 1, value: 'backfilled' },
          ],
        },
      ],
      spine: [{ a: '1', b: null, time: 13 }],
      asKnownAt: true,
    };
    await store([one]);
    assert.deepEqual((await build(one)).values, [['newer']]);
  });

  it('gives the same hashes and the same bytes on one thread and on two', async () => {
    const one = randomCase(9_001);
    await store([one]);
    const results: { built: BuiltTrainingSet; bytes: string }[] = [];
    for (const threads of [1, 2]) {
      await lake.read((session) => session.run(`SET GLOBAL threads = ${threads}`));
      const { built, target } = await build(one);
      results.push({ built, bytes: readFileSync(target).toString('base64') });
    }
    assert.deepEqual(results[0], results[1]);
  });
});
