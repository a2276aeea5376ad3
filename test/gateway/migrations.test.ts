import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import type { LoftError } from '../../contract/errors';
import { openPool } from '../../server/postgres/connect';
import { migrate } from '../../server/postgres/migrations/migrate';
import { registry } from '../../server/postgres/migrations/001_registry';
import { inTransaction } from '../../server/postgres/transaction';
import { bareDatabase, freshDatabase, type TestDatabase } from './support/postgres';

describe('migrations', () => {
  let bare: TestDatabase;
  before(async () => {
    bare = await bareDatabase();
  });
  after(() => bare.drop());

  it('set up an empty database once, also when two gateways start at once', async () => {
    const answers = await Promise.all([migrate(bare.db), migrate(bare.db)]);
    assert.deepEqual(answers.map(({ applied }) => applied.length).sort(), [0, 1]);
    const { rows } = await bare.db.query('SELECT registry_version, lake_id FROM registry.head');
    assert.deepEqual(rows, [{ registry_version: '0', lake_id: null }]);
    assert.deepEqual(await migrate(bare.db), { applied: [] });
  });

  it('leave nothing behind when a step fails', async () => {
    const broken = { number: 2, name: 'broken', sql: 'CREATE TABLE registry.half (a int); SELECT no_such_function();' };
    await assert.rejects(migrate(bare.db, [registry, broken]));
    const { rows } = await bare.db.query(`SELECT to_regclass('registry.half') AS half`);
    assert.deepEqual(rows, [{ half: null }]);
    assert.deepEqual(await migrate(bare.db), { applied: [] });
  });

  it('refuse a database of a newer Feature Loft in plain words', async () => {
    const later = { number: 2, name: 'later', sql: 'CREATE TABLE registry.later (a int)' };
    const { db, drop } = await freshDatabase();
    await migrate(db, [registry, later]);
    await assert.rejects(migrate(db), (error: LoftError) => {
      assert.equal(error.code, 'schema_too_new');
      assert.match(error.detail, /newer Feature Loft \(schema 2; this one knows schemas up to 1\)/);
      return true;
    });
    await drop();
  });

  it('refuse a database whose steps were other ones', async () => {
    const { db, drop } = await freshDatabase();
    await db.query(`UPDATE registry.migrations SET checksum = 'x'`);
    await assert.rejects(migrate(db), { code: 'schema_altered' });
    await drop();
  });

  it('say in plain words why a database will not do', async () => {
    const taken = await bareDatabase();
    await taken.db.query('CREATE SCHEMA features');
    await assert.rejects(migrate(taken.db), { code: 'schema_in_use', status: 409 });
    await taken.db.query(`DROP SCHEMA features; CREATE ROLE guest LOGIN PASSWORD 'guest'`);
    const { host, port, database } = taken.connection as { host: string; port: number; database: string };
    const guest = openPool({ host, port, database, user: 'guest', password: 'guest' }, { max: 1 });
    await assert.rejects(migrate(guest), { code: 'may_not_create', status: 403 });
    await guest.end();
    assert.deepEqual(await migrate(taken.db), { applied: [1] });
    await taken.drop();

    await bare.db.query(`CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'`);
    const latin = openPool({ ...bare.connection, database: 'latin' }, { max: 1 });
    await assert.rejects(migrate(latin), { code: 'not_utf8' });
    await latin.end();
    await bare.db.query('DROP DATABASE latin');
  });

  it('make the audit log append-only', async () => {
    await bare.db.query(`INSERT INTO registry.audit (what, origin) VALUES ('{}', 'test')`);
    for (const change of [
      'UPDATE registry.audit SET origin = NULL',
      'DELETE FROM registry.audit',
      'TRUNCATE registry.audit',
    ])
      await assert.rejects(bare.db.query(change), /append-only/);
  });

  it('a transaction that failed and was committed anyway is an error', async () => {
    await assert.rejects(
      inTransaction(bare.db, async (client) => {
        await client.query('SELECT 1/0').catch(() => undefined);
      }),
      /had failed before its commit/,
    );
  });
});
