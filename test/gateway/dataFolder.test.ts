import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, chown, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LoftError } from '../../contract/errors';
import { emptyTmp, openDataFolder } from '../../server/dataFolder';
import { readOwnDiscovery, removeDiscovery, writeDiscovery } from '../../server/discoveryFile';
import { scratchFolder } from './support/program';

const asRoot = process.getuid?.() === 0;

describe('a data folder', () => {
  let scratch: Awaited<ReturnType<typeof scratchFolder>>;
  let dir: string;

  beforeEach(async () => {
    scratch = await scratchFolder();
    dir = join(scratch.path, 'data');
  });
  afterEach(() => scratch.remove());

  async function refused(code: string, words: RegExp, path = dir): Promise<void> {
    await assert.rejects(openDataFolder(path), (error) => {
      assert.ok(error instanceof LoftError, String(error));
      assert.equal(error.code, code);
      assert.match(error.detail, words);
      return true;
    });
  }

  async function modeOf(path: string): Promise<string> {
    return ((await stat(path)).mode & 0o777).toString(8);
  }

  it('is made with its parents, for its owner alone', async () => {
    const folder = await openDataFolder(join(dir, 'deep'));
    assert.equal(await modeOf(folder.dir), '700');
    for (const child of [folder.lakeDir, folder.trainingDir, folder.jobsDir, folder.tmpDir, folder.logsDir]) {
      assert.equal(await modeOf(child), '700');
    }
    assert.equal(await modeOf(folder.tokenFile), '600');
    assert.match(folder.token, /^[0-9a-f]{64}$/);
  });

  it('keeps its token, also when many open it at once', async () => {
    const tokens = (await Promise.all(Array.from({ length: 8 }, () => openDataFolder(dir)))).map(({ token }) => token);
    assert.equal(new Set(tokens).size, 1);
    assert.equal((await openDataFolder(dir)).token, tokens[0]);
    const unfinished = (await readdir(dir)).filter((name) => name.startsWith('.'));
    assert.deepEqual(unfinished, []);
  });

  it('is one under each of its names', async () => {
    const folder = await openDataFolder(dir);
    await symlink(dir, join(scratch.path, 'other'));
    assert.equal((await openDataFolder(join(scratch.path, 'other'))).dir, folder.dir);
  });

  it('takes an empty folder and closes it to others', async () => {
    await mkdir(dir, { mode: 0o755 });
    await openDataFolder(dir);
    assert.equal(await modeOf(dir), '700');
    await chmod(dir, 0o755);
    await openDataFolder(dir);
    assert.equal(await modeOf(dir), '700');
  });

  it('takes a folder in which a client has begun the log', async () => {
    await mkdir(join(dir, 'logs'), { recursive: true });
    await openDataFolder(dir);
  });

  it('forgets what an earlier gateway left in tmp', async () => {
    const folder = await openDataFolder(dir);
    await mkdir(join(folder.tmpDir, 'upload'));
    await writeFile(join(folder.tmpDir, 'upload', 'part'), 'x');
    await emptyTmp(folder);
    assert.deepEqual(await readdir(folder.tmpDir), []);
  });

  it('is not made of a folder with other files, whose mode stays', async () => {
    await mkdir(dir, { mode: 0o755 });
    for (const name of ['a', 'b', 'c', 'd']) await writeFile(join(dir, name), '');
    await refused('not_a_data_folder', /holds other files \(a, b, c, …\).*--data/);
    assert.equal(await modeOf(dir), '755');
  });

  it('is not made of a file', async () => {
    await writeFile(dir, '');
    await refused('data_folder_not_a_folder', /not a folder/);
    await refused('data_folder_not_a_folder', /one of its parents is a file/, join(dir, 'below'));
  });

  it('of a newer Feature Loft is refused and left as it is', async () => {
    await openDataFolder(dir);
    await writeFile(join(dir, 'format.json'), '{"format":2}');
    await refused('data_folder_newer', /newer Feature Loft \(format 2; this one knows 1\)\. Update/);
    await writeFile(join(dir, 'format.json'), 'x');
    await refused('data_folder_damaged', /format\.json is not readable/);
  });

  it('with a token that others could read is refused', async () => {
    const { tokenFile } = await openDataFolder(dir);
    await chmod(tokenFile, 0o644);
    await refused('secret_exposed', /token can be read by other accounts \(mode 644.*Delete it/);
  });

  it('with a damaged token is refused', async () => {
    const { tokenFile } = await openDataFolder(dir);
    await writeFile(tokenFile, '');
    await refused('token_damaged', /does not hold 64 hex digits\. Delete it/);
  });

  it('with a name that is too long is refused', () =>
    refused('data_folder_name_too_long', /shorter/, join(dir, 'x'.repeat(300))));

  it('of another account is refused', async function () {
    if (!asRoot) return this.skip();
    await mkdir(dir);
    await chown(dir, 65_534, 65_534);
    await refused('data_folder_of_another', /belongs to the account with id 65534/);
  });

  it('on a full or a read-only disk is refused', async function () {
    if (!asRoot) return this.skip();
    await mkdir(dir, { mode: 0o700 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,nr_inodes=4,mode=700', 'tmpfs', dir]);
    try {
      await refused('disk_full', /no space left/);
      execFileSync('mount', ['-o', 'remount,ro', dir]);
      await refused('data_folder_read_only', /read-only/);
    } finally {
      execFileSync('umount', [dir]);
    }
  });

  it('says where its gateway is, until that one ends', async () => {
    const folder = await openDataFolder(dir);
    assert.equal(await readOwnDiscovery(folder), undefined);
    const discovery = {
      url: 'http://127.0.0.1:1',
      tokenFile: folder.tokenFile,
      pid: 7,
      version: '1',
      startedAt: '2026-01-02T03:04:05.678Z',
    };
    await writeDiscovery(folder, discovery);
    assert.equal(await modeOf(folder.gatewayFile), '600');
    assert.deepEqual(await readOwnDiscovery(folder), discovery);
    assert.ok(!(await readFile(folder.gatewayFile, 'utf8')).includes(folder.token));
    await removeDiscovery(folder, 8);
    assert.deepEqual(await readOwnDiscovery(folder), discovery);
    await removeDiscovery(folder, 7);
    assert.equal(await readOwnDiscovery(folder), undefined);
  });
});
