import assert from 'node:assert/strict';
import { chmod, chown, copyFile, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import {
  defaultDataDir,
  ensureGateway,
  findGateway,
  readDiscovery,
  startGateway,
  stopGateway,
  type FoundGateway,
} from '../../client/discovery';
import type { Discovery } from '../../contract/discovery';
import { LoftError } from '../../contract/errors';
import { proofOf } from '../../server/discoveryFile';
import { scratchFolder } from './support/program';

const gatewayPath = join(__dirname, 'support/programs/smallGateway.ts');

describe('finding and starting a gateway', () => {
  let scratch: Awaited<ReturnType<typeof scratchFolder>>;
  let dir: string;
  const started: number[] = [];
  const nodeOptions = process.env['NODE_OPTIONS'];

  before(() => {
    process.env['NODE_OPTIONS'] = '--import tsx';
  });
  after(() => {
    if (nodeOptions === undefined) delete process.env['NODE_OPTIONS'];
    else process.env['NODE_OPTIONS'] = nodeOptions;
  });
  beforeEach(async () => {
    scratch = await scratchFolder();
    dir = join(scratch.path, 'data');
  });
  afterEach(async () => {
    for (const pid of started.splice(0)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // The test ended it.
      }
    }
    await scratch.remove();
  });

  async function start(...args: string[]): Promise<FoundGateway> {
    const found = await startGateway({ dir, gatewayPath, args });
    started.push(found.pid);
    return found;
  }

  /** A gateway that can't prove itself is not found, and its pid stands in its file only. */
  async function startUnproven(...args: string[]): Promise<void> {
    await assert.rejects(
      start(...args),
      (error) => error instanceof LoftError && error.code === 'gateway_not_answering',
    );
    const discovery = await readDiscovery(dir);
    assert.ok(discovery);
    started.push(discovery.pid);
  }

  async function editDiscovery(change: Partial<Discovery>): Promise<void> {
    await writeFile(join(dir, 'gateway.json'), JSON.stringify({ ...(await readDiscovery(dir)), ...change }));
  }

  const logOf = () => readFile(join(dir, 'logs', 'serve.log'), 'utf8');

  it('starts one where there is none, and finds it afterwards', async () => {
    assert.equal(await findGateway(dir), undefined);
    const found = await start();
    assert.match(found.url, /^http:\/\/127\.0\.0\.1:\d+$/);
    assert.equal(found.version, '0.1.0');
    assert.equal(found.token, (await readFile(join(dir, 'token'), 'utf8')).trim());
    assert.deepEqual(await findGateway(dir), found);
    assert.deepEqual(await ensureGateway({ dir, gatewayPath }), found);
  });

  it('gives two that start at once the same one', async () => {
    const first = await start();
    const second = await startGateway({ dir, gatewayPath });
    assert.deepEqual(second, first);
  });

  it('tells how the start goes', async () => {
    const lines: string[] = [];
    const found = await startGateway({ dir, gatewayPath, args: ['slow'], onProgress: (line) => lines.push(line) });
    started.push(found.pid);
    assert.deepEqual(lines, ['Setting up Postgres.']);
  });

  it('starts it in a process group of its own, and it can go on writing', async () => {
    const found = await start();
    assert.equal(process.kill(-found.pid, 0), true);
    const before = (await logOf()).length;
    await findGateway(dir);
    assert.ok((await logOf()).length > before);
  });

  it('never sends the token before the proof', async () => {
    const found = await start();
    await findGateway(dir);
    assert.ok(!(await logOf()).includes(found.token));
    assert.ok(!(await logOf()).includes('authorization'));
  });

  it('does not trust a wrong proof', async () => {
    await startUnproven('wrong-proof');
    assert.equal(await findGateway(dir), undefined);
  });
  it('does not trust a missing proof', () => startUnproven('no-proof'));
  it('does not wait for ever for one that is silent', () => startUnproven('silent'));

  it('takes a killed one’s file for stale', async () => {
    const found = await start();
    process.kill(found.pid, 'SIGKILL');
    while (await findGateway(dir)) await new Promise((done) => setTimeout(done, 10));
    assert.ok(await readDiscovery(dir));
    const next = await ensureGateway({ dir, gatewayPath });
    started.push(next.pid);
    assert.notEqual(next.pid, found.pid);
    assert.equal(next.token, found.token);
  });

  it('takes a file of a recycled pid or another port for stale', async () => {
    const found = await start();
    await editDiscovery({ pid: process.pid, url: 'http://127.0.0.1:1' });
    assert.equal(await findGateway(dir), undefined);
    await editDiscovery({ pid: 1, url: found.url });
    if (process.getuid?.() !== 0) assert.equal(await findGateway(dir), undefined);
  });

  it('takes a damaged file for none', async () => {
    await start();
    for (const text of ['', '{', '{"url":"file:///etc/passwd"}', '[]', 'x'.repeat(100_000)]) {
      await writeFile(join(dir, 'gateway.json'), text);
      assert.equal(await findGateway(dir), undefined, text.slice(0, 40));
    }
  });

  it('refuses files that others can read, own, or that lead elsewhere', async () => {
    await start();
    const refused = (words: RegExp) =>
      assert.rejects(findGateway(dir), (error) => {
        assert.ok(error instanceof LoftError);
        assert.equal(error.code, 'discovery_refused');
        assert.match(error.detail, words);
        return true;
      });
    for (const name of ['gateway.json', 'token']) {
      const file = join(dir, name);
      await chmod(file, 0o640);
      await refused(/mode 640; expected your own account and 600/);
      await chmod(file, 0o600);
      if (process.getuid?.() === 0) {
        await chown(file, 65_534, 65_534);
        await refused(/owner 65534/);
        await chown(file, 0, 0);
      }
      await copyFile(file, `${file}.real`);
      await rm(file);
      await symlink(`${file}.real`, file);
      await refused(/ELOOP.*plain file/);
      await rm(file);
      await copyFile(`${file}.real`, file);
    }
    assert.ok(await findGateway(dir));
  });

  it('tells the last lines of one that fails to start', async () => {
    await assert.rejects(start('broken'), (error) => {
      assert.ok(error instanceof LoftError);
      assert.equal(error.code, 'gateway_start_failed');
      assert.match(
        error.detail,
        /ended with code 1\. Its last lines, from .*serve\.log:\nThe lake cannot be opened\.$/,
      );
      return true;
    });
  });

  it('tells that there is no such Node', async () => {
    await assert.rejects(
      startGateway({ dir, gatewayPath, node: '/nonexistent/node' }),
      /could not be started: .*ENOENT/,
    );
  });

  it('ends one that is not ready in time', async () => {
    await assert.rejects(
      startGateway({ dir, gatewayPath, args: ['slow'], timeoutMs: 100 }),
      /did not become ready in time/,
    );
  });

  it('says in words why a folder can’t be used', async () => {
    await assert.rejects(
      startGateway({ dir: gatewayPath, gatewayPath }),
      /a part of its path is a file\. Name another/,
    );
  });

  it('stops one in order', async () => {
    const found = await start();
    await stopGateway(found);
    assert.equal(await readDiscovery(dir), undefined);
    await stopGateway(found);
  });

  it('proves with HMAC-SHA256 over the token’s text, in lower-case hex', () => {
    // As `printf challenge | openssl dgst -sha256 -hmac key` says.
    assert.equal(proofOf('key', 'challenge'), 'fe94963fbac6b086cf871d423af4bb5f7a3dc0e61d37e4c78d122a6cc751b3e8');
  });

  it('knows where each platform keeps a program’s data', () => {
    assert.equal(defaultDataDir({ FEATURELOFT_DATA: '/x' }, 'linux'), '/x');
    assert.equal(defaultDataDir({}, 'linux'), join(homedir(), '.local/share/featureloft'));
    assert.equal(defaultDataDir({ XDG_DATA_HOME: '/y' }, 'linux'), '/y/featureloft');
    assert.equal(defaultDataDir({}, 'darwin'), join(homedir(), 'Library/Application Support/featureloft'));
    assert.equal(defaultDataDir({ LOCALAPPDATA: '/z' }, 'win32'), join('/z', 'featureloft'));
  });
});
