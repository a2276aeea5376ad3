import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TrainingProcess } from '../../../server/jobs/trainingProcess';

describe('a training process', () => {
  it('is followed to its end also where its pid can’t be written down', async () => {
    const jobDir = await mkdtemp(join(tmpdir(), 'loft-job-'));
    try {
      await mkdir(join(jobDir, 'pid'));
      const { ended } = new TrainingProcess({
        python: process.execPath,
        jobDir,
        url: 'http://127.0.0.1:1',
        token: 'none',
        trainingSet: 'set',
        version: 1,
        label: undefined,
        testFraction: undefined,
        onLine: () => undefined,
      });
      const { code, failure } = await ended;
      assert.equal(failure, undefined);
      assert.notEqual(code, null);
    } finally {
      await rm(jobDir, { recursive: true, force: true });
    }
  });
});
