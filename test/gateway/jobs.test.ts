import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { followJob } from '../../client/followJob';
import type { GatewayClient } from '../../client/gatewayClient';
import type { JobInfo } from '../../contract/api';
import { LoftError } from '../../contract/errors';
import type { RunningGateway } from '../../server/gateway';
import { newDataDir, PYTHON, spawnGateway, startOwnGateway, startTestGateway } from './support/gateway';

/** A training set of `rows` rows whose label follows from its feature, now and then not. */
async function makeTrainingSet(client: GatewayClient, rows: number): Promise<void> {
  await client.call('publish', {
    body: {
      definitions: {
        entities: [{ name: 'job_item', keys: { item: 'int64' } }],
        views: [{ name: 'job_facts', entity: 'job_item', features: { size: 'float64' } }],
      },
    },
  });
  const items = Array.from({ length: rows }, (_, item) => item);
  await client.call('writeRows', {
    params: { view: 'job_facts' },
    rows: { json: { rows: items.map((item) => ({ item, size: item % 7, event_timestamp: '2024-01-01T00:00:00Z' })) } },
  });
  await client.call('createTrainingSet', {
    body: {
      name: 'job_set',
      spine: {
        rows: items.map((item) => ({
          item,
          at: new Date(Date.UTC(2024, 1, 1) + item * 60_000).toISOString(),
          large: item % 11 === 0 ? item % 7 < 3 : item % 7 >= 3,
        })),
      },
      eventTimestamp: 'at',
      labels: ['large'],
      features: ['job_facts:size'],
    },
  });
}

describe('training jobs', function () {
  this.timeout(180_000);
  let gateway: RunningGateway;
  let client: GatewayClient;
  before(async () => {
    ({ gateway, client } = await startTestGateway());
    await makeTrainingSet(client, 400);
  });

  const start = (): Promise<JobInfo> =>
    client.call('startJob', { body: { kind: 'training', trainingSet: 'job_set', testFraction: 0.25 } });

  it('train a model, tell their progress, and leave files whose hashes are known', async () => {
    const progress: number[] = [];
    const job = await followJob(client, await start(), { onProgress: (one) => progress.push(one.progress) });
    assert.equal(job.state, 'succeeded', job.error);
    assert.deepEqual(
      [...progress].sort((a, b) => a - b),
      progress,
    );
    assert.ok(progress.length > 3, 'progress came as it happened');
    assert.ok(Number(job.metrics?.['score']) > Number(job.metrics?.['baseline']));
    const set = await client.call('trainingSet', { params: { name: 'job_set' } });
    assert.equal(job.trainingSet?.id, set.id);
    assert.deepEqual(
      job.files.map(({ file }) => file.split('/').at(-1)),
      ['metrics.json', 'model.joblib', 'model.json'],
    );
    for (const { file, sha256, bytes } of job.files) {
      const content = await readFile(join(gateway.folder.dir, file));
      assert.equal(content.length, bytes);
      assert.equal(createHash('sha256').update(content).digest('hex'), sha256);
    }
    assert.deepEqual(await client.call('job', { params: { id: job.id } }), job);
    assert.equal((await client.call('jobs')).items[0]?.id, job.id);
    // Who comes late gets the end at once.
    assert.equal((await followJob(client, { ...job, state: 'running' })).state, 'succeeded');
  });

  it('run one at a time, and end when they are cancelled, waiting or running', async () => {
    const first = await start();
    const second = await start();
    assert.equal((await client.call('job', { params: { id: second.id } })).state, 'queued');
    assert.equal((await client.call('cancelJob', { params: { id: second.id } })).state, 'cancelled');
    const cancelled = await client.call('cancelJob', { params: { id: first.id } });
    assert.equal(cancelled.state, 'cancelled');
    assert.ok(cancelled.endedAt);
    assert.equal((await client.call('cancelJob', { params: { id: first.id } })).state, 'cancelled');
  });

  it('are refused for a training set that is not there, and unknown jobs are 404', async () => {
    const code = (wanted: number) => (error: unknown) => error instanceof LoftError && error.status === wanted;
    await assert.rejects(client.call('startJob', { body: { kind: 'training', trainingSet: 'nothing' } }), code(404));
    await assert.rejects(client.call('job', { params: { id: 'nothing' } }), code(404));
    await assert.rejects(client.call('cancelJob', { params: { id: '../../etc' } }), code(404));
  });

  it('fail with the trainer’s own words', async () => {
    const job = await client.call('startJob', { body: { kind: 'training', trainingSet: 'job_set', label: 'nothing' } });
    const ended = await followJob(client, job);
    assert.equal(ended.state, 'failed');
    assert.match(ended.error ?? '', /no column 'nothing'/);
  });

  it('name the Python that is missing, or what it lacks', async () => {
    const dataDir = await newDataDir();
    const own = await startOwnGateway({ dataDir, python: join(dataDir, 'no-python') });
    try {
      await makeTrainingSet(own.client, 50);
      const job = await own.client.call('startJob', { body: { kind: 'training', trainingSet: 'job_set' } });
      const ended = await followJob(own.client, job);
      assert.equal(ended.state, 'failed');
      assert.match(ended.error ?? '', /no-python.*--python or FEATURELOFT_PYTHON/);
    } finally {
      own.client.close();
      await own.gateway.close();
      await rm(dataDir, { recursive: true, force: true });
    }
  });

  it('of a gateway that was killed have failed, and their process is gone', async () => {
    const dataDir = await newDataDir();
    try {
      const first = await spawnGateway(dataDir, ['--python', PYTHON]);
      await makeTrainingSet(first.client, 2_000);
      const job = await first.client.call('startJob', { body: { kind: 'training', trainingSet: 'job_set' } });
      while ((await first.client.call('job', { params: { id: job.id } })).state === 'queued') await delay(20);
      const pid = Number(await readFile(join(dataDir, 'jobs', job.id, 'pid'), 'utf8'));
      await first.end('SIGKILL');
      const second = await spawnGateway(dataDir);
      const ended = await second.client.call('job', { params: { id: job.id } });
      assert.equal(ended.state, 'failed');
      assert.match(ended.error ?? '', /gateway ended/);
      assert.equal(await isRunning(pid), false, 'the trainer is gone');
      await second.end();
    } finally {
      await rm(dataDir, { recursive: true, force: true });
    }
  });
});

/** A process that has ended may stand in the table until its new parent looks. */
async function isRunning(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return status !== '' && !/\) [ZX] /.test(status);
}
