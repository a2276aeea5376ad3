import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { WriteAnswer } from '../../contract/api';
import { compareCells, type Cell } from '../../contract/cells';
import { timestampCell } from '../../server/postgres/columnTypes';
import { ndjsonRowsOf, onlineStore, type OnlineStore } from './support/onlineStore';

const definitions = {
  entities: [{ name: 'pair', keys: { a: 'string', b: 'int32' } }],
  views: [{ name: 'values', entity: 'pair', features: { value: 'int64' } }],
};

/** Few keys and few times, so that rows meet. Times are in the past; `created` may be left to the clock. */
interface Row {
  a: string;
  b: number;
  value: number;
  event_timestamp: string;
  created_timestamp?: string;
}
const second = fc.integer({ min: 0, max: 3 }).map((n) => `2024-01-01T00:00:0${n}Z`);
const row: fc.Arbitrary<Row> = fc.record(
  {
    a: fc.constantFrom('1', '11', 'é', '1,'),
    b: fc.constantFrom(1, 2, 12),
    value: fc.nat(),
    event_timestamp: second,
    created_timestamp: second,
  },
  { requiredKeys: ['a', 'b', 'value', 'event_timestamp'] },
);
/** A batch, and whether it is made so large that it goes by way of staging. */
const batch = fc.record({ rows: fc.array(row, { minLength: 1, maxLength: 8 }), large: fc.boolean() });

interface Stored {
  value: Cell;
  event: string;
  created: string;
  writeSeq: bigint;
}

function isGreater(one: Stored, other: Stored): boolean {
  const type = { kind: 'timestamp' } as const;
  const order = compareCells(type, one.event, other.event) || compareCells(type, one.created, other.created);
  return order === 0 ? one.writeSeq > other.writeSeq : order > 0;
}

describe('the one order', () => {
  let store: OnlineStore;
  before(async () => {
    store = await onlineStore();
    await store.publish(definitions);
  });
  after(() => store.drop());

  /** More rows than one statement writes, each for an entity of its own. */
  const filler = Array.from({ length: 1_001 }, (_, index) =>
    JSON.stringify({ a: 'filler', b: index, value: 0, event_timestamp: '2024-01-01T00:00:00Z' }),
  );

  const push = ({ rows, large }: { rows: Row[]; large: boolean }): Promise<WriteAnswer> => {
    const lines = rows.map((one) => JSON.stringify(one));
    return store.push('values', ndjsonRowsOf(large ? [...lines, ...filler] : lines));
  };

  /** Each entity's newest row of all that reached history. */
  const newestOfHistory = async (): Promise<Map<string, Stored>> => {
    const newest = new Map<string, Stored>();
    for (const chunk of await store.outbox()) {
      for (const line of chunk.lines) {
        const candidate: Stored = {
          value: line['value'] ?? null,
          event: line['event_timestamp'] ?? '',
          created: line['created_timestamp'] ?? timestampCell(chunk.clock),
          writeSeq: BigInt(chunk.batch) * 2n ** 20n + BigInt(line['write_seq'] ?? -1),
        };
        const key = JSON.stringify([line['a'], line['b']]);
        const standing = newest.get(key);
        if (standing === undefined || isGreater(candidate, standing)) newest.set(key, candidate);
      }
    }
    return newest;
  };

  const online = async (): Promise<Map<string, Stored>> => {
    const { rows } = await store.db.query<Record<string, string>>('SELECT * FROM features.values_v1');
    return new Map(
      rows.map((stored) => [
        JSON.stringify([stored['a'], stored['b']]),
        {
          value: stored['value'] ?? null,
          event: timestampCell(stored['event_timestamp'] ?? ''),
          created: timestampCell(stored['created_timestamp'] ?? ''),
          writeSeq: BigInt(stored['write_seq'] ?? -1),
        },
      ]),
    );
  };

  it('keeps the newest row of each entity, whatever the order in which batches arrive, also at once', async function () {
    this.timeout(120_000);
    await fc.assert(
      fc.asyncProperty(fc.array(batch, { minLength: 1, maxLength: 6 }), fc.boolean(), async (batches, atOnce) => {
        await store.db.query('TRUNCATE features.values_v1, registry.outbox');
        const answers = atOnce ? await Promise.all(batches.map(push)) : await inTurn(batches, push);
        const pushed = batches.flatMap(({ rows, large }) => [...rows, ...(large ? filler : [])]).length;
        assert.equal(sum(answers, 'written') + sum(answers, 'superseded'), pushed);
        const chunks = await store.outbox();
        assert.equal(chunks.flatMap((chunk) => chunk.lines).length, pushed);
        assert.deepEqual(await online(), await newestOfHistory());
      }),
      { numRuns: 40 },
    );
  });

  it('gives the same table for any order of the same rows, when their triples differ', async function () {
    this.timeout(120_000);
    const distinct = fc.uniqueArray(row, {
      minLength: 2,
      maxLength: 20,
      selector: (one) =>
        JSON.stringify([one.a, one.b, one.event_timestamp, one.created_timestamp ?? '2024-01-01T00:00:09Z']),
    });
    await fc.assert(
      fc.asyncProperty(distinct, fc.infiniteStream(fc.nat()), fc.nat(5), async (rows, random, large) => {
        const timed = rows.map((one) => ({ created_timestamp: '2024-01-01T00:00:09Z', ...one }));
        const tables: unknown[] = [];
        for (let order = 0; order < 2; order++) {
          await store.db.query('TRUNCATE features.values_v1, registry.outbox');
          const shuffled = timed.map((one) => ({ one, at: [...random.take(1)][0] ?? 0 })).sort((x, y) => x.at - y.at);
          const cut = order === 0 ? shuffled.length : 1 + Math.floor(shuffled.length / 2);
          const parts = [shuffled.slice(0, cut), shuffled.slice(cut), shuffled.slice(0, 1)].filter(
            (part) => part.length,
          );
          await inTurn(
            parts.map((part) => ({ rows: part.map(({ one }) => one), large: large === order })),
            push,
          );
          const { rows: stored } = await store.db.query<Record<string, string>>(
            `SELECT a, b, value, event_timestamp, created_timestamp FROM features.values_v1 WHERE a <> 'filler' ORDER BY a, b`,
          );
          tables.push(stored);
        }
        assert.deepEqual(tables[0], tables[1]);
      }),
      { numRuns: 25 },
    );
  });

  it('neither loses nor doubles a row when many writers hit the same entities at once', async function () {
    this.timeout(60_000);
    await store.db.query('TRUNCATE features.values_v1, registry.outbox');
    const writers = Array.from({ length: 24 }, (_, writer) => {
      const rows = Array.from({ length: 40 }, (_, index): Row => {
        const b = (index * 7 + writer) % 20;
        return {
          a: 'hot',
          b,
          value: writer * 1_000 + index,
          event_timestamp: `2024-01-01T00:00:0${(index + writer) % 4}Z`,
        };
      });
      return { rows, large: writer % 6 === 0 };
    });
    const answers = await Promise.all(writers.map(push));
    assert.equal(sum(answers, 'written') + sum(answers, 'superseded'), 24 * 40 + 4 * filler.length);
    assert.deepEqual(await online(), await newestOfHistory());
  });
});

async function inTurn<Item, Result>(items: readonly Item[], work: (item: Item) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  for (const item of items) results.push(await work(item));
  return results;
}

function sum(answers: readonly WriteAnswer[], count: 'written' | 'superseded'): number {
  return answers.reduce((total, answer) => total + answer[count], 0);
}
