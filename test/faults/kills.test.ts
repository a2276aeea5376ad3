import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { LoftError } from '../../contract/errors';
import { askPostgres } from '../support/postgres';
import { Chance } from './support/chance';
import { askLake } from './support/lakeCopy';
import { newDataDir } from './support/gatewayProcess';
import { Publisher } from './support/publisher';
import { Pusher, type Sent } from './support/pusher';
import { StoreUnderFire, type Victim } from './support/storeUnderFire';

/** Kills in one run; `npm run test:faults` asks for more. */
const KILLS = Number(process.env['LOFT_FAULT_KILLS'] ?? 20);
/** What a run's chance starts from; a failed run names it. When it happens is never the same, what happens is. */
const SEED = Number(process.env['LOFT_FAULT_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const PUSHERS = 3;
const PROGRESS_TIMEOUT_MS = 60_000;
const MOST_PER_KILL_MS = 60_000;

const victims: Record<Victim, number> = {
  gateway: 11,
  'gateway while it starts': 3,
  worker: 3,
  Postgres: 3,
  'gateway and Postgres': 2,
};

describe(`a pushing client through ${KILLS} SIGKILLs`, function () {
  this.timeout(120_000 + KILLS * MOST_PER_KILL_MS);
  let dataDir: string;
  let started: StoreUnderFire | undefined;
  const pushers: Pusher[] = [];
  const publishers: Publisher[] = [];

  before(async () => {
    dataDir = await newDataDir();
  });
  after(async () => {
    for (const client of [...pushers, ...publishers]) client.finish();
    await started?.stop();
    await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
  });

  it(`loses no row and no publish, and doubles none, online and in history (LOFT_FAULT_SEED=${SEED})`, async () => {
    const chance = new Chance(SEED);
    const store = await StoreUnderFire.start(dataDir);
    started = store;
    const publisher = new Publisher(store, new Chance(SEED + 100));
    publishers.push(publisher);
    await publisher.begin();
    for (let index = 0; index < PUSHERS; index++) pushers.push(new Pusher(store, `p${index}`, SEED + index + 1));
    const pushing = pushers.map((pusher) => pusher.run());
    // A pusher that fails must end the test, not only its own pushing.
    const checks = { done: 0 };
    const checking = checkAllTheWhile(store, checks, pushers);
    const failed = Promise.all([...pushing, publisher.run(), checking]).then(() => undefined);
    failed.catch(() => undefined);

    const killed = new Map<Victim, number>();
    for (let kill = 0; kill < KILLS; kill++) {
      await Promise.race([delay(chance.between(50, 900)), failed]);
      const done = await store.kill(chance.pick(victims), chance);
      killed.set(done, (killed.get(done) ?? 0) + 1);
      const answers = (): number => pushers.reduce((sum, one) => sum + one.answered, 0);
      await Promise.race([grows(answers, 'no write was answered'), failed]);
      // Else a gateway seldom lives long enough to bring anything to the lake, and no kill would meet it there.
      if (chance.next() < 0.5) await Promise.race([grows(() => checks.done, 'nothing reached history'), failed]);
    }
    for (const client of [...pushers, publisher]) client.finish();
    await failed;

    // Drains what was answered, and re-reads every file.
    const { bad, checked } = await store.client.call('verify', { body: {} });
    assert.deepEqual(bad, []);
    const online = await askPostgres(
      dataDir,
      `SELECT account, batch, place, amount, (extract(epoch FROM event_timestamp) * 1000000)::bigint AS event,
         (extract(epoch FROM created_timestamp) * 1000000)::bigint AS created, write_seq
       FROM features."ledger_v1" ORDER BY account`,
    );
    const [counts] = await askPostgres(
      dataDir,
      `SELECT (SELECT count(*) FROM registry.outbox) AS waiting, (SELECT rows FROM registry.view_state WHERE view = 'ledger') AS drained`,
    );
    const [registry] = await askPostgres(
      dataDir,
      `SELECT (SELECT registry_version FROM registry.head) AS version, count(*) AS changes, max(position) AS last,
         count(DISTINCT registry_version) AS versions, max(registry_version) AS newest,
         (SELECT definition ->> 'description' FROM registry.view_versions) AS description
       FROM registry.changes`,
    );
    const published = String(publisher.version);
    assert.deepEqual(
      registry,
      {
        ...{ version: published, changes: published, last: published, versions: published, newest: published },
        description: `Described for the ${published}. time`,
      },
      'each publish is there once, and no version was left out',
    );
    await store.stop();

    const history = 'lake.main."ledger_v1"';
    const [batches = [], newest = [], [all = {}] = []] = await askLake(dataDir, [
      `SELECT batch, count(*) AS rows, count(DISTINCT place) AS places, min(size) AS size,
         sum(amount)::BIGINT AS amount, sum(epoch_us(event_timestamp))::BIGINT AS event FROM ${history} GROUP BY batch`,
      `SELECT DISTINCT ON (account) account, batch, place, amount, epoch_us(event_timestamp) AS event,
         epoch_us(created_timestamp) AS created, write_seq
       FROM ${history} ORDER BY account, event_timestamp DESC, created_timestamp DESC, write_seq DESC`,
      `SELECT count(*) AS rows, count(DISTINCT write_seq) AS seqs FROM ${history}`,
    ]);

    const sent = new Map(pushers.flatMap((pusher) => pusher.sent).map((batch) => [batch.id, batch]));
    const found = new Map(batches.map((batch) => [String(batch['batch']), batch]));
    for (const batch of sent.values()) {
      const rows = found.get(batch.id);
      if (batch.answered) assert.ok(rows, `batch ${batch.id} was answered and is not in history`);
      if (rows) assert.deepEqual(rows, asFound(batch), `batch ${batch.id} is there once, whole and as it was sent`);
    }
    for (const id of found.keys()) assert.ok(sent.has(id), `batch ${id} was never sent`);
    assert.equal(all['seqs'], all['rows'], 'no write_seq twice');
    assert.deepEqual(counts, { waiting: '0', drained: String(all['rows']) });
    assert.deepEqual(
      online,
      newest.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, String(value)]))),
      'each account’s live row is the newest of its history',
    );

    const answered = [...sent.values()].filter((batch) => batch.answered);
    const unanswered = [...sent.values()].filter((batch) => !batch.answered);
    assert.ok(answered.length > KILLS, `only ${answered.length} batches were answered`);
    process.stdout.write(
      `    ${KILLS} kills (${[...killed].map(([victim, times]) => `${victim} ${times}`).join(', ')}), back after at most ${store.longestStartMs} ms; ` +
        `${published} publishes and ${answered.length} batches answered, ${pushers.reduce((sum, one) => sum + one.retries, 0)} tries repeated; ` +
        `${unanswered.length} sent once without an answer, ${unanswered.filter(({ id }) => found.has(id)).length} of them stored; ` +
        `${checks.done} clean checks of all files meanwhile; ${String(all['rows'])} rows in history, ${online.length} accounts, ${checked} files\n`,
    );
  });
});

function asFound({ id, size, amount, event }: Sent): Record<string, unknown> {
  return { batch: id, rows: BigInt(size), places: BigInt(size), size, amount, event };
}

/** Makes the store drain without a pause, so that kills meet commits to the lake, and re-reads every file each time. */
async function checkAllTheWhile(
  store: StoreUnderFire,
  checks: { done: number },
  pushers: readonly Pusher[],
): Promise<void> {
  while (!pushers.every(({ isFinishing }) => isFinishing)) {
    try {
      const { client } = await store.ready();
      const { bad } = await client.call('verify', { body: {}, signal: AbortSignal.timeout(PROGRESS_TIMEOUT_MS) });
      assert.deepEqual(bad, []);
      checks.done++;
    } catch (error) {
      if (!(error instanceof LoftError && error.status === 503)) throw error;
    }
    await delay(100);
  }
}

async function grows(count: () => number, complaint: string): Promise<void> {
  const before = count();
  const deadline = Date.now() + PROGRESS_TIMEOUT_MS;
  while (count() === before) {
    if (Date.now() > deadline) throw new Error(`${complaint} for ${PROGRESS_TIMEOUT_MS / 1_000} s after a kill`);
    await delay(20);
  }
}
