import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import type { LoftError } from '../../contract/errors';
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
