import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import type { LoftError } from '../../contract/errors';
import { requestHash, type Idempotency } from '../../server/online/idempotency';
import { outboxStatus } from '../../server/online/outboxStatus';
import { jsonRows, ndjsonRowsOf, onlineStore, refusalOf, type OnlineStore } from './support/onlineStore';

const weather = {
  entities: [{ name: 'airport', keys: { origin: 'string' } }],
  views: [{ name: 'weather', entity: 'airport', features: { temp: 'float64', wind: 'int64' } }],
};

/** More than one statement writes. */
const MANY = 3_000;
const manyRows = (count: number, event: string): string[] =>
  Array.from({ length: count }, (_, index) =>
    JSON.stringify({ origin: `K${index}`, temp: index / 8, wind: index, event_timestamp: event }),
  );

describe('writing rows', () => {
  let store: OnlineStore;
  beforeEach(async () => {
    store = await onlineStore();
    await store.publish(weather);
  });
  afterEach(() => store.drop());

  const tableRows = async (): Promise<Record<string, string>[]> => {
    const { rows } = await store.db.query<Record<string, string>>('SELECT * FROM features.weather_v1 ORDER BY origin');
    return rows;
  };

  for (const [path, rows] of [
    ['one statement', 3],
    ['staging', MANY],
  ] as const) {
    describe(`by ${path}`, () => {
      it('counts, numbers the rows by batch and position, and puts all of them into the outbox', async () => {
        const older = await store.push('weather', ndjsonRowsOf(manyRows(rows, '2024-01-01T00:00:00Z')));
        assert.deepEqual(older, { written: rows, superseded: 0, rejected: 0, warned: 0 });
        const [newRow = '', oldRow = ''] = [
          ...manyRows(1, '2024-01-02T00:00:00Z'),
          ...manyRows(1, '2023-01-01T00:00:00Z'),
        ];
        const again = [newRow, oldRow, ...manyRows(rows, '2023-06-01T00:00:00Z').slice(1), newRow];
        const newer = await store.push('weather', ndjsonRowsOf(again));
        assert.deepEqual(newer, { written: 1, superseded: rows + 1, rejected: 0, warned: 0 });

        const chunks = await store.outbox();
        assert.deepEqual(
          chunks.map((chunk) => chunk.rowCount),
          [rows, rows + 2],
        );
        const [first, second] = chunks;
        assert.equal(first?.newestEvent, '2024-01-01 00:00:00+00');
        assert.equal(second?.newestEvent, '2024-01-02 00:00:00+00');
        assert.deepEqual(first?.lines[2], {
          origin: 'K2',
          temp: '0.25',
          wind: '2',
          event_timestamp: '2024-01-01T00:00:00Z',
          created_timestamp: null,
          write_seq: '2',
        });
        assert.equal(second?.lines.length, rows + 2);

        const stored = await tableRows();
        assert.equal(stored.length, rows);
        const winner = stored.find((row) => row['origin'] === 'K0');
        // The same triple but for write_seq: the later position of the batch wins.
        assert.equal(winner?.['write_seq'], String((second?.batch ?? 0) * 2 ** 20 + rows + 1));
        assert.equal(winner?.['created_timestamp'], second?.clock);
      });

      it('refuses a batch with one time too far ahead, by the clock of the database', async () => {
        const soon = await clock("+ interval '4 minutes 55 seconds'");
        const late = await clock("+ interval '5 minutes 5 seconds'");
        const good = manyRows(rows, soon);
        assert.equal((await store.push('weather', ndjsonRowsOf(good))).written, rows);
        const bad = [...manyRows(rows, soon), JSON.stringify({ origin: 'JFK', event_timestamp: late })];
        const refusal = await refusalOf(store.push('weather', ndjsonRowsOf(bad)));
        assert.equal(refusal.status, 422);
        assert.deepEqual(
          refusal.problems.map(({ row, field, code }) => ({ row, field, code })),
          [{ row: rows, field: 'event_timestamp', code: 'event_in_future' }],
        );
        const known = JSON.stringify({ origin: 'LGA', event_timestamp: soon, created_timestamp: late });
        const skipped = await store.push('weather', ndjsonRowsOf([known, ...bad]), { onError: 'skip' });
        assert.equal(skipped.rejected, 2);
        assert.deepEqual(
          (skipped.problems as { code: string }[]).map(({ code }) => code),
          ['created_in_future', 'event_in_future'],
        );
        // The same rows again, with a later batch number: they replace.
        assert.deepEqual([skipped.written, skipped.superseded], [rows, 0]);
        assert.equal((await tableRows()).length, rows);
        assert.deepEqual(
          (await store.outbox()).map((chunk) => chunk.rowCount),
          [rows, rows],
        );
      });

      it('tells every problem of a refused batch, also those that only the database can know', async () => {
        const late = await clock("+ interval '1 hour'");
        const bad = [
          JSON.stringify({ origin: 'JFK', event_timestamp: late }),
          '{"origin": 5, "event_timestamp": "2024-01-01T00:00:00Z"}',
          ...manyRows(rows, '2024-01-01T00:00:00Z'),
          '{"origin": "LGA", "tmep": 1, "event_timestamp": null}',
          'no json',
        ];
        const refusal = await refusalOf(store.push('weather', ndjsonRowsOf(bad)));
        assert.deepEqual(
          refusal.problems.map(({ row, field, code }) => [row, field, code]),
          [
            [0, 'event_timestamp', 'event_in_future'],
            [1, 'origin', 'wrong_type'],
            [rows + 2, 'tmep', 'unknown_column'],
            [rows + 2, 'event_timestamp', 'missing_value'],
            [rows + 3, undefined, 'bad_json'],
          ],
        );
        assert.match(refusal.detail, /5 problems in 4 of its rows/);
        assert.equal((await tableRows()).length, 0);
        assert.deepEqual(await store.outbox(), []);
        assert.deepEqual(await outboxStatus(store.db), { chunks: 0, rows: 0, oldestSeconds: null });

        const taken = await store.push('weather', ndjsonRowsOf(bad), { onError: 'skip' });
        assert.deepEqual(
          { ...taken, problems: undefined },
          { written: rows, superseded: 0, rejected: 4, warned: 0, problems: undefined },
        );
      });

      it('sees a column that another gateway published between', async () => {
        await store.registry.reload();
        const wider = structuredClone(weather);
        Object.assign(wider.views[0]?.features ?? {}, { rain: 'float32' });
        await store.publish(wider);
        const lines = manyRows(rows, '2024-01-01T00:00:00Z').map((line) => line.replace('{', '{"rain": 0.1,'));
        assert.equal((await store.push('weather', ndjsonRowsOf(lines))).written, rows);
        assert.equal((await tableRows())[0]?.['rain'], '0.1');
        assert.equal((await store.outbox())[0]?.lines[0]?.['rain'], '0.1');
      });

      it('keeps an answer for its Idempotency-Key, and does the work once', async () => {
        const lines = manyRows(rows, '2024-01-01T00:00:00Z');
        const send = (idempotency: Idempotency, some = lines) =>
          store.push('weather', ndjsonRowsOf(some), { idempotency });
        const request: Idempotency = {
          key: randomUUID(),
          caller: 'me',
          route: 'POST /v1/views/{view}/rows',
          requestHash: requestHash('/v1/views/weather/rows', 'a'.repeat(64)),
        };
        const answers = await Promise.all([send(request), send(request), send(request)]);
        for (const answer of answers)
          assert.deepEqual(answer, { written: rows, superseded: 0, rejected: 0, warned: 0 });
        assert.equal((await store.outbox()).length, 1);

        const other = { ...request, requestHash: requestHash('/v1/views/weather/rows?onError=skip', 'a'.repeat(64)) };
        assert.equal((await refusalOf(send(other))).code, 'idempotency_mismatch');
        assert.equal((await send({ ...other, caller: 'you' })).written, rows);

        // The answer stands, whatever became of the view.
        assert.deepEqual(await store.push('gone', ndjsonRowsOf(lines), { idempotency: request }), answers[0]);

        // A refusal is not kept: the mended request may use the key.
        const again = { ...request, key: randomUUID() };
        assert.equal((await refusalOf(send(again, ['{}']))).code, 'bad_rows');
        assert.equal((await send(again)).written, rows);
      });
    });
  }

  it('takes no rows as an answer of zeros', async () => {
    assert.deepEqual(await store.push('weather', jsonRows([])), { written: 0, superseded: 0, rejected: 0, warned: 0 });
    assert.deepEqual(await store.outbox(), []);
  });

  it('tells how much waits for history, and since when', async () => {
    await store.push('weather', ndjsonRowsOf(manyRows(3, '2024-01-01T00:00:00Z')));
    await store.push('weather', ndjsonRowsOf(manyRows(2, '2024-01-01T00:00:00Z')));
    await store.db.query(
      `UPDATE registry.outbox SET written_at = written_at - interval '90 seconds' WHERE row_count = 3`,
    );
    const { chunks, rows, oldestSeconds } = await outboxStatus(store.db);
    assert.deepEqual([chunks, rows], [2, 5]);
    assert.ok(oldestSeconds !== null && oldestSeconds >= 90 && oldestSeconds < 120);
  });

  it('takes future events where the view allows them, but not from the future', async () => {
    const planned = structuredClone(weather);
    Object.assign(planned.views[0] ?? {}, { allow_future_events: true });
    await store.publish(planned);
    const rows = [{ origin: 'JFK', temp: 1, event_timestamp: '2999-01-01T00:00:00Z' }];
    assert.equal((await store.push('weather', jsonRows(rows))).written, 1);
    const created = rows.map((row) => ({ ...row, created_timestamp: '2999-01-01T00:00:00Z' }));
    assert.deepEqual(
      (await refusalOf(store.push('weather', jsonRows(created)))).problems[0]?.code,
      'created_in_future',
    );
  });

  it('counts rows that break a rule', async () => {
    const ruled = structuredClone(weather);
    Object.assign(ruled.views[0]?.features ?? {}, {
      temp: { type: 'float64', rules: [{ range: [-60, 140] }, { not_null: true, on: 'warn' }] },
      wind: { type: 'int64', rules: [{ range: [0, null], on: 'warn' }] },
    });
    await store.publish(ruled);
    const event = { event_timestamp: '2024-01-01T00:00:00Z' };
    const rows = [
      { origin: 'A', temp: 140, wind: 0, ...event },
      { origin: 'B', temp: 141, wind: -1, ...event },
      { origin: 'C', wind: -1, ...event },
    ];
    const refusal = await refusalOf(store.push('weather', jsonRows(rows)));
    assert.deepEqual(refusal.problems, [
      { row: 1, field: 'temp', code: 'rule_violated', found: '141', expected: 'from -60 to 140' },
    ]);
    const { problems, ...counts } = await store.push('weather', jsonRows(rows), { onError: 'skip' });
    assert.deepEqual(counts, { written: 2, superseded: 0, rejected: 1, warned: 1 });
    assert.deepEqual(
      (problems as { row: number; code: string }[]).map(({ row, code }) => [row, code]),
      [
        [1, 'rule_violated'],
        [2, 'rule_warned'],
        [2, 'rule_warned'],
      ],
    );
  });

  it('writes to the version that is named, and says which there are', async () => {
    const rows = jsonRows([{ origin: 'JFK', event_timestamp: '2024-01-01T00:00:00Z' }]);
    assert.equal((await store.push('weather@v1', rows)).written, 1);
    assert.equal((await refusalOf(store.push('weather@v2', rows))).code, 'unknown_version');
    assert.match((await refusalOf(store.push('wether', rows))).detail, /Did you mean weather/);
  });

  it('ends a chunk before it is larger than 16 MB, and numbers each chunk by itself', async () => {
    const text = (row: number): string =>
      createHash('shake256', { outputLength: 1_024 }).update(`${row}`).digest('hex');
    const wide = {
      entities: weather.entities,
      views: [{ name: 'notes', entity: 'airport', features: { note: 'string' } }],
    };
    await store.publish(wide);
    const count = 16_000; // 33 MB of hex digits: 19 MB compressed
    const lines = {
      *[Symbol.iterator](): Generator<string, void> {
        for (let row = 0; row < count; row++)
          yield JSON.stringify({ origin: `K${row}`, note: text(row), event_timestamp: '2024-01-01T00:00:00Z' });
      },
    };
    assert.equal((await store.push('notes', ndjsonRowsOf(lines))).written, count);
    const chunks = await store.outbox();
    assert.ok(chunks.length >= 2);
    assert.equal(
      chunks.reduce((sum, chunk) => sum + chunk.rowCount, 0),
      count,
    );
    for (const chunk of chunks) {
      assert.ok(chunk.bytes <= 16 * 1024 * 1024);
      assert.equal(chunk.lines.length, chunk.rowCount);
      assert.equal(chunk.lines.at(-1)?.['write_seq'], String(chunk.rowCount - 1));
      const { rows } = await store.db.query<{ write_seq: string; note: string }>(
        'SELECT write_seq, note FROM features.notes_v1 WHERE origin = $1',
        [chunk.lines.at(-1)?.['origin']],
      );
      assert.equal(rows[0]?.write_seq, String(chunk.batch * 2 ** 20 + chunk.rowCount - 1));
      assert.equal(rows[0]?.note, chunk.lines.at(-1)?.['note']);
    }
  });

  it('takes bulk loads in turns, and leaves connections to others meanwhile', async () => {
    const count = 1_100;
    const lines = manyRows(count, '2024-01-01T00:00:00Z');
    const loads = Array.from({ length: 12 }, () => store.push('weather', ndjsonRowsOf(lines)));
    const small = store.push('weather', ndjsonRowsOf(lines.slice(0, 1)));
    assert.equal((await small).rejected, 0);
    const written = (await Promise.all(loads)).map((answer) => answer.written + answer.superseded);
    assert.deepEqual(written, new Array(12).fill(count));
    const more = Array.from({ length: 40 }, () => store.push('weather', ndjsonRowsOf(lines)));
    const outcomes = await Promise.allSettled(more);
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    assert.equal(refused.length, 40 - 35);
    for (const { reason } of refused) assert.equal((reason as LoftError).code, 'too_many_loads');
  });

  it('refuses a row that no chunk could hold', async () => {
    const wide = {
      entities: weather.entities,
      views: [{ name: 'notes', entity: 'airport', features: { note: 'string' } }],
    };
    await store.publish(wide);
    const row = (size: number) =>
      JSON.stringify({ origin: 'JFK', note: '字'.repeat(size), event_timestamp: '2024-01-01T00:00:00Z' });
    assert.equal((await store.push('notes', ndjsonRowsOf([row(3_400_000)]))).written, 1);
    const refusal = await refusalOf(store.push('notes', ndjsonRowsOf([row(4_400_000)])));
    assert.deepEqual(
      refusal.problems.map(({ code }) => code),
      ['row_too_large'],
    );
  });

  async function clock(offset: string): Promise<string> {
    const { rows } = await store.db.query<{ at: string }>(
      `SELECT to_char((statement_timestamp() ${offset}) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at`,
    );
    return rows[0]?.at ?? '';
  }
});
