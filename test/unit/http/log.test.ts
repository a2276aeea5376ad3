import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLog } from '../../../server/log';

describe('the log', () => {
  let folder: string;
  beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'loft-log-'))));
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('holds no secret, whether it was told or only looks like one', async () => {
    const file = join(folder, 'gateway.log');
    const log = openLog(file);
    log.hide('s3cret-of-postgres');
    const secrets = ['s3cret-of-postgres', 'tokentokentoken', 'urlpassword', 'inthequery', 'plainpassword'];
    log.info('start', { url: 'postgres://me:urlpassword@db/loft', header: 'Authorization: Bearer tokentokentoken' });
    const cause = new Error('password=plainpassword refused');
    log.error('failed', new Error('GET /v1/x?token=inthequery with s3cret-of-postgres', { cause }));
    await log.close();
    const text = await readFile(file, 'utf8');
    for (const secret of secrets) assert.ok(!text.includes(secret), `${secret} in ${text}`);
    assert.equal(
      text
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { event: string }).event)
        .join(),
      'start,failed',
    );
    assert.equal((await stat(file)).mode & 0o777, 0o600);
  });

  it('keeps two files of 5 MB at most', async () => {
    const file = join(folder, 'gateway.log');
    const log = openLog(file);
    for (let line = 0; line < 1_400; line++) log.info('line', { line, text: 'x'.repeat(10_000) });
    await log.close();
    assert.deepEqual((await readdir(folder)).sort(), ['gateway.log', 'gateway.log.1']);
    for (const name of await readdir(folder)) assert.ok((await stat(join(folder, name))).size <= 5 * 1024 * 1024, name);
    assert.match(await readFile(file, 'utf8'), /"line":1399,/);
  });
});
