import assert from 'node:assert/strict';
import { once, EventEmitter } from 'node:events';
import { DrainLease } from '../../server/offline/drainLease';
import { freshDatabase, type TestDatabase } from './support/postgres';

describe('drain lease', function () {
  this.timeout(20_000);
  let database: TestDatabase;
  const leases: DrainLease[] = [];
  before(async () => {
    database = await freshDatabase();
  });
  afterEach(async () => {
    for (const lease of leases.splice(0)) await lease.release();
  });
  after(() => database.drop());

  function lease(holder: string, onLost: () => void = () => undefined): DrainLease {
    const made = new DrainLease(database.db, holder, () => `http://${holder}`, onLost);
    leases.push(made);
    return made;
  }

  it('belongs to one holder until it is given back, and each taking has a greater epoch', async () => {
    const [first, second] = [lease('a'), lease('b')];
    const epoch = await first.take(false);
    assert.ok(epoch !== undefined);
    assert.equal(await first.take(false), epoch);
    assert.equal(await second.take(false), undefined);
    assert.deepEqual(await second.who(), { holder: 'a', url: 'http://a', standing: true });
    await first.release();
    assert.equal(await second.take(false), epoch + 1);
  });

  it('is taken once by callers who ask at the same time', async () => {
    const one = lease('a');
    const epochs = await Promise.all([one.take(false), one.take(false), one.take(false)]);
    assert.equal(new Set(epochs).size, 1);
  });

  it('is taken over when it has expired, and the old holder is no longer believed', async () => {
    const [first, second] = [lease('a'), lease('b')];
    const old = (await first.take(false)) ?? 0;
    await database.db.query(`UPDATE registry.drain_lease SET expires = '-infinity'`);
    assert.equal(await second.take(false), old + 1);
    assert.equal(await first.isOurs(database.db, old), false);
    assert.equal(await second.isOurs(database.db, old + 1), true);
  });

  it('is taken over at once by who has the lake’s catalog locked for himself', async () => {
    const [killed, next] = [lease('a'), lease('b')];
    await killed.take(false);
    assert.ok((await next.take(true)) !== undefined);
  });

  it('tells its holder when another has it', async () => {
    const told = new EventEmitter();
    const first = lease('a', () => told.emit('lost'));
    await first.take(false);
    const lost = once(told, 'lost');
    await lease('b').take(true);
    await lost;
    assert.equal(first.epoch, undefined);
  });
});
