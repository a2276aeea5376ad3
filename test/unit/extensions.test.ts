import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { awaitedExtension, findExtension } from '../../server/offline/extensions';

describe('findExtension', () => {
  const before = process.env['FEATURELOFT_EXTENSIONS'];
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'extensions-'));
  });
  afterEach(() => {
    if (before === undefined) delete process.env['FEATURELOFT_EXTENSIONS'];
    else process.env['FEATURELOFT_EXTENSIONS'] = before;
    rmSync(folder, { recursive: true, force: true });
  });

  it("finds DuckLake where this checkout's set-up puts it", () => {
    delete process.env['FEATURELOFT_EXTENSIONS'];
    assert.match(findExtension('ducklake'), /[\\/]v1\.5\.5[\\/]\w+[\\/]ducklake\.duckdb_extension$/);
  });

  it('looks into FEATURELOFT_EXTENSIONS when that is set, and nowhere else', () => {
    process.env['FEATURELOFT_EXTENSIONS'] = folder;
    assert.throws(() => findExtension('ducklake'), /is in none of: .*npm run setup/);
    assert.ok(awaitedExtension('ducklake').startsWith(folder));
    writeFileSync(join(folder, 'ducklake.duckdb_extension'), '');
    assert.equal(findExtension('ducklake'), join(folder, 'ducklake.duckdb_extension'));
  });
});
