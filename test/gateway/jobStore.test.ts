import assert from 'node:assert/strict';
import type { JobInfo } from '../../contract/api';
import { JobStore } from '../../server/jobs/jobStore';
import { freshDatabase, type TestDatabase } from './support/postgres';

describe('the store of jobs', function () {
  this.timeout(60_000);
  let database: TestDatabase;
  before(async () => {
    database = await freshDatabase();
  });
  after(() => database.drop());

  it('keeps a job as it ended when a report of its progress comes late', async () => {
    const store = new JobStore(database.db, 'me');
    const job: JobInfo = {
      id: 'one',
      kind: 'training',
      state: 'running',
      progress: 0.5,
      message: 'Half way',
      request: {},
      files: [],
      createdAt: '2026-01-01T00:00:00Z',
    };
    await store.insert({ ...job, state: 'queued' });
    await store.update(job);
    assert.deepEqual(await store.get('one'), job);
    const ended: JobInfo = { ...job, state: 'succeeded', progress: 1, endedAt: '2026-01-01T00:01:00Z' };
    await store.update(ended);
    await store.update(job);
    assert.deepEqual(await store.get('one'), ended);
    assert.deepEqual(await store.unfinished(), []);
  });
});
