import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stageNdjson } from '../../../server/offline/worker/stageNdjson';

describe('staged JSON lines', () => {
  it('that can’t be written beside their file fail the upload, not the process', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'loft-ndjson-'));
    try {
      const file = join(folder, 'rows');
      await writeFile(file, '{"a":1}\n');
      await mkdir(`${file}.cells`);
      await assert.rejects(stageNdjson(file), { code: 'EEXIST' });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
