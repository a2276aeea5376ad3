import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A copy of the scripts, in a folder with a space in its name: whatever they write, they write there. */
describe('the set-up scripts', function () {
  this.timeout(60_000);
  let checkout: string;

  beforeEach(() => {
    checkout = mkdtempSync(join(tmpdir(), 'check out-'));
    cpSync('scripts', join(checkout, 'scripts'), { recursive: true });
  });
  afterEach(() => rmSync(checkout, { recursive: true, force: true }));

  function setup(env: Record<string, string>) {
    const script = join(checkout, 'scripts', 'setup', 'setup.mjs');
    return spawnSync(process.execPath, [script], { encoding: 'utf8', env: { ...process.env, ...env } });
  }

  /** Takes the lock, notes it in `log`, holds it for `holdMs`, notes the end. */
  function locker(name: string, holdMs: number) {
    const code = `
      import { appendFileSync } from 'node:fs';
      import { withLock } from './scripts/setup/lock.mjs';
      await withLock('thing', async () => {
        appendFileSync('log', '${name} in\\n');
        await new Promise((resolve) => setTimeout(resolve, ${holdMs}));
        appendFileSync('log', '${name} out\\n');
      });`;
    return spawn(process.execPath, ['--input-type=module', '-e', code], { cwd: checkout, stdio: 'ignore' });
  }

  const log = () => (existsSync(join(checkout, 'log')) ? readFileSync(join(checkout, 'log'), 'utf8') : '');

  async function untilLogged(line: string) {
    for (let waited = 0; !log().includes(line); waited += 20) {
      assert.ok(waited < 20_000, `no "${line}" within 20 s, only: ${log()}`);
      await sleep(20);
    }
  }

  it('names the Python that was asked for and is none, and the way out', () => {
    const { status, stderr } = setup({ FEATURELOFT_PYTHON: join(checkout, 'no-such-python') });
    assert.equal(status, 1);
    assert.match(
      stderr,
      /needs Python 3\.11 or newer; FEATURELOFT_PYTHON=.*no-such-python is no Python that runs\.\n→ Set FEATURE/,
    );
  });

  it('names the version of a Python that is too old', () => {
    const old = fakePython('["/usr/bin/python3.9", [3, 9, 2], true, true]');
    const { status, stderr } = setup({ FEATURELOFT_PYTHON: old });
    assert.equal(status, 1);
    assert.match(stderr, /needs Python 3\.11 or newer; FEATURELOFT_PYTHON=.* is Python 3\.9\.2\./);
  });

  it('names the package to install for a Python that cannot make virtual environments', () => {
    const bare = fakePython('["/usr/bin/python3", [3, 12, 1], false, false]');
    const { status, stderr } = setup({ FEATURELOFT_PYTHON: bare });
    assert.equal(status, 1);
    assert.match(stderr, /Python 3\.12\.1 \(\/usr\/bin\/python3\) cannot make virtual environments/);
    if (existsSync('/etc/debian_version')) assert.match(stderr, /apt-get install python3\.12-venv/);
  });

  /** A program that answers as a Python would that is built otherwise than the ones here. */
  function fakePython(answer: string): string {
    const file = join(checkout, 'python');
    writeFileSync(file, `#!/bin/sh\necho '${answer}'\n`, { mode: 0o755 });
    return file;
  }

  it('lets one process in at a time', async () => {
    const processes = ['a', 'b', 'c'].map((name) => locker(name, 150));
    await Promise.all(processes.map((process) => once(process, 'exit')));
    assert.match(log(), /^(?:(\w) in\n\1 out\n){3}$/);
  });

  it('takes over the lock of a process that was killed', async () => {
    const killed = locker('killed', 60_000);
    await untilLogged('killed in');
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    await once(locker('next', 0), 'exit');
    assert.equal(log(), 'killed in\nnext in\nnext out\n');
  });

  it('does the same for a lock whose process did not come to write its pid', async function () {
    mkdirSync(join(checkout, '.cache', 'thing.lock'), { recursive: true });
    await once(locker('next', 0), 'exit');
    assert.equal(log(), 'next in\nnext out\n');
  });

  it('ends what a killed script was running', async () => {
    const code = `
      import { run } from './scripts/setup/process.mjs';
      await run('sh', ['-c', 'echo $$ in >> log; exec sleep 300']);`;
    const script = spawn(process.execPath, ['--input-type=module', '-e', code], { cwd: checkout, stdio: 'ignore' });
    await untilLogged(' in');
    script.kill('SIGKILL');
    const pid = Number(log().split(' ')[0]);
    for (let tries = 0; isAlive(pid); tries += 1) {
      assert.ok(tries < 200, 'it still runs after 10 s');
      await sleep(50);
    }
  });

  function isAlive(pid: number): boolean {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  }
});
