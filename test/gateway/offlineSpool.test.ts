import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openTestStore, textBody, type TestStore } from './support/offline';

describe('an upload on its way to the lake', function () {
  this.timeout(60_000);
  let on: TestStore;
  beforeEach(async () => {
    on = await openTestStore();
  });
  afterEach(() => on.close());

  it('is refused in the words of a data folder that can’t be written', async () => {
    const file = join(on.folder.dir, 'file');
    await writeFile(file, '');
    const store = on.again({ folder: { ...on.folder, tmpDir: file } });
    await assert.rejects(store.uploadDataset('rows', textBody('a\n1\n'), { mode: 'replace', format: 'csv' }), {
      code: 'data_folder_not_a_folder',
    });
  });
});
