import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

describe('npm test', function () {
  this.timeout(60_000);
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'suites-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** What `npm test` counts for a suite with this one file; `timeoutMs` as short as the case needs. */
  function countsOf(test: string, timeoutMs = 30_000) {
    writeFileSync(join(folder, 'one.test.ts'), test);
    const result = join(folder, 'counts');
    const code = `
      import { writeFileSync } from 'node:fs';
      import { runMocha } from './scripts/testing/suites.mjs';
      const { passed, failed, skipped } = await runMocha(${JSON.stringify({ name: 'one', folder, timeoutMs })});
      writeFileSync(${JSON.stringify(result)}, JSON.stringify({ passed, failed, skipped }));`;
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' });
    return { ...(JSON.parse(readFileSync(result, 'utf8')) as object), stdout };
  }

  /** A killed process is seen until its new parent has taken note of its end. */
  async function endsSoon(pid: number): Promise<boolean> {
    for (let tries = 0; tries < 100; tries += 1) {
      try {
        process.kill(pid, 0);
      } catch {
        return true;
      }
      await sleep(50);
    }
    return false;
  }

  it('counts passed, failed and skipped tests', () => {
    const { stdout, ...counts } = countsOf(`
      it('is fine', () => {});
      it('is not', () => { throw new Error('as told'); });
      it('is left out');`);
    assert.deepEqual(counts, { passed: 1, failed: 1, skipped: 1 });
    assert.match(stdout, /as told/);
  });

  it('counts a crash of the test process as a failure', () => {
    const { stdout, ...counts } = countsOf(`it('ends all', () => process.abort());`);
    assert.deepEqual(counts, { passed: 0, failed: 1, skipped: 0 });
    assert.match(stdout, /The suite one ended with code 134, though no test failed/);
  });

  it('counts a file that cannot be loaded as a failure', () => {
    const { stdout: _stdout, ...counts } = countsOf(`import './no-such-file';`);
    assert.deepEqual(counts, { passed: 0, failed: 1, skipped: 0 });
  });

  it('counts a suite without a test as a failure', () => {
    const { stdout: _stdout, ...counts } = countsOf('export {};');
    assert.deepEqual(counts, { passed: 0, failed: 1, skipped: 0 });
  });

  it('counts what a test left open as a failure, and does not wait for it', () => {
    const { stdout, ...counts } = countsOf(`
      import { createServer } from 'node:net';
      it('leaves a server', (done) => { createServer().listen(0, done); });`);
    assert.deepEqual(counts, { passed: 1, failed: 1, skipped: 0 });
    assert.match(stdout, /left open after its last test: .*TCPServerWrap/);
  });

  it('ends a suite at its time-out, with what it started', async () => {
    const pidFile = join(folder, 'pid');
    const { stdout, ...counts } = countsOf(
      `import { spawn } from 'node:child_process';
       import { writeFileSync } from 'node:fs';
       it('waits for ever', (done) => {
         writeFileSync(${JSON.stringify(pidFile)}, String(spawn('sleep', ['300']).pid));
       }).timeout(0);`,
      5_000,
    );
    assert.deepEqual(counts, { passed: 0, failed: 1, skipped: 0 });
    assert.match(stdout, /no end within its time-out/);
    assert.ok(await endsSoon(Number(readFileSync(pidFile, 'utf8'))));
  });

  it('finds and ends a detached process that a suite left in its temporary folder', function () {
    // Only Linux shows whose temporary folder a process works in.
    const isLinux = process.platform === 'linux';
    const { stdout, ...counts } = countsOf(
      `import { spawn } from 'node:child_process';
       it('leaves a process', () => spawn('sleep', ['300'], { detached: true, stdio: 'ignore' }).unref());`,
    );
    assert.deepEqual(counts, { passed: 1, failed: isLinux ? 1 : 0, skipped: 0 });
    if (isLinux) assert.match(stdout, /left running \(ended now\): \d+ sleep 300/);
  });
});
