import assert from 'node:assert/strict';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { LoftError } from '../../contract/errors';
import { openPool } from '../../server/postgres/connect';
import { inTransaction } from '../../server/postgres/transaction';
import { createTable } from '../../server/registry/tables';
import { freshDatabase, type TestDatabase } from './support/postgres';

function isAway(error: unknown): boolean {
  assert.ok(error instanceof LoftError, String(error));
  assert.deepEqual([error.status, error.code, error.retryAfterSeconds], [503, 'online_store_away', 2]);
  assert.doesNotMatch(error.detail, /SELECT|password|stack/i);
  return true;
}

describe('Postgres', () => {
  let database: TestDatabase;
  before(async () => {
    database = await freshDatabase();
    await database.db.query('CREATE TABLE account (name text PRIMARY KEY, n int); CREATE TABLE audit (who text)');
    await database.db.query(`INSERT INTO account VALUES ('a', 0), ('b', 0)`);
  });
  after(() => database.drop());

  it('gives every result as text, in UTC', async () => {
    const { rows } = await database.db.query(
      `SELECT 9007199254740993 AS big, 0.1::float8 AS float, true AS bool, '2024-07-01 12:00+02'::timestamptz AS at,
              '\\xff'::bytea AS bytes, ARRAY[1, NULL] AS list, '{"a": 1}'::json AS json, NULL AS nothing`,
    );
    assert.deepEqual(rows, [
      {
        big: '9007199254740993',
        float: '0.1',
        bool: 't',
        at: '2024-07-01 10:00:00+00',
        bytes: '\\xff',
        list: '{1,NULL}',
        json: '{"a": 1}',
        nothing: null,
      },
    ]);
  });

  it('keeps its settings beside those of a URL', async () => {
    const { host, port, user, password, database: name } = database.connection;
    const url = new URL(`postgres://${user}:${encodeURIComponent(String(password))}@${host}:${port}/${name}`);
    for (const [theirs, path] of [
      [undefined, '"$user", public'],
      ['-c TimeZone=Asia/Tokyo -c search_path=trash', 'trash'],
    ] as const) {
      if (theirs !== undefined) url.searchParams.set('options', theirs);
      const pool = openPool({ connectionString: url.href }, { max: 1, settings: { work_mem: '7MB' } });
      const { rows } = await pool.query(
        `SELECT current_setting('timezone') AS zone, current_setting('search_path') AS path,
                current_setting('application_name') AS name, current_setting('work_mem') AS memory`,
      );
      assert.deepEqual(rows, [{ zone: 'UTC', path, name: 'featureloft', memory: '7MB' }]);
      await pool.end();
    }
  });

  it('away is said so, whether it refuses, hangs or goes in the middle', async () => {
    const refusing = openPool({ host: '127.0.0.1', port: 1, user: 'x', database: 'x' }, { max: 1 });
    await assert.rejects(refusing.query('SELECT 1'), isAway);
    await assert.rejects(refusing.connect(), isAway);
    await assert.rejects(
      inTransaction(refusing, () => Promise.resolve()),
      isAway,
    );
    await refusing.end();

    const closing = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
    await delay(20);
    const { port } = closing.address() as AddressInfo;
    const cut = openPool({ host: '127.0.0.1', port, user: 'x', database: 'x' }, { max: 1 });
    await assert.rejects(cut.query('SELECT 1'), isAway);
    await cut.end();
    closing.close();

    const dying = inTransaction(database.db, async (client) => {
      const { rows } = await client.query<{ pid: string }>('SELECT pg_backend_pid() AS pid');
      await database.db.query('SELECT pg_terminate_backend($1)', [rows[0]?.pid]);
      await client.query('SELECT 1');
    });
    await assert.rejects(dying, isAway);
    // The pool has forgotten the dead connection.
    await database.db.query('SELECT 1');
  });

  it('a connection that dies while idle in a transaction ends nothing but the transaction', async () => {
    const client = await database.db.connect();
    await client.query('BEGIN');
    const { rows } = await client.query<{ pid: string }>('SELECT pg_backend_pid() AS pid');
    await database.db.query('SELECT pg_terminate_backend($1)', [rows[0]?.pid]);
    await delay(50);
    client.release(true);
    await database.db.query('SELECT 1');
  });

  it('deadlocks are tried again until both are through', async () => {
    let attempts = 0;
    const move = (first: string, second: string) =>
      inTransaction(database.db, async (client) => {
        attempts++;
        await client.query(`SET LOCAL deadlock_timeout = '20ms'`);
        await client.query('UPDATE account SET n = n + 1 WHERE name = $1', [first]);
        await delay(30);
        await client.query('UPDATE account SET n = n + 1 WHERE name = $1', [second]);
      });
    await Promise.all([move('a', 'b'), move('b', 'a'), move('a', 'b'), move('b', 'a')]);
    const { rows } = await database.db.query('SELECT n FROM account');
    assert.deepEqual(rows, [{ n: '4' }, { n: '4' }]);
    assert.ok(attempts > 4, 'there was no deadlock');
  });

  it('what fails in a transaction leaves nothing, and its own error', async () => {
    await assert.rejects(
      inTransaction(database.db, async (client) => {
        await client.query(`INSERT INTO audit VALUES ('x')`);
        throw new LoftError(422, 'on_purpose', 'as planned');
      }),
      { code: 'on_purpose' },
    );
    await assert.rejects(
      inTransaction(database.db, (client) => client.query('SELECT 1/0')),
      { code: '22012' },
    );
    assert.deepEqual((await database.db.query('SELECT * FROM audit')).rows, []);
  });

  it('updates an online table mostly without touching its index', async () => {
    const { db } = database;
    const float = { kind: 'float64' } as const;
    const features = Array.from({ length: 10 }, (_, n) => ({ name: `f${n}`, type: float }));
    await db.query(createTable({ name: 'hot', version: 1, keys: [{ name: 'k', type: { kind: 'int64' } }], features }));
    const client = await db.connect();
    await client.query(
      `INSERT INTO features.hot_v1 SELECT i, ${features.map(() => 'random()').join()}, now(), now(), i FROM generate_series(1, 20000) i`,
    );
    for (let round = 0; round < 10; round++)
      await client.query('UPDATE features.hot_v1 SET f1 = random(), write_seq = write_seq + 1 WHERE k % 10 = $1', [
        round,
      ]);
    await client.query('SELECT pg_stat_force_next_flush()');
    const { rows } = await client.query<{ share: string }>(
      `SELECT n_tup_hot_upd::float8 / n_tup_upd AS share FROM pg_stat_user_tables WHERE relname = 'hot_v1'`,
    );
    client.release();
    assert.ok(Number(rows[0]?.share) > 0.9, `only ${rows[0]?.share} of the updates were HOT`);
  });
});
