import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { acquireFileLock, acquireLock } from '../../server/lock';
import { scratchFolder, startProgram, type Program } from './support/program';

describe('the lock on a data folder', () => {
  let scratch: Awaited<ReturnType<typeof scratchFolder>>;
  const programs: Program[] = [];
  const outliving: number[] = [];

  beforeEach(async () => {
    scratch = await scratchFolder();
  });
  afterEach(async () => {
    for (const program of programs.splice(0)) await program.kill();
    for (const pid of outliving.splice(0)) process.kill(pid, 'SIGKILL');
    await scratch.remove();
  });

  async function hold(...args: string[]): Promise<{ program: Program; held: boolean }> {
    const program = startProgram('lockHolder', args);
    programs.push(program);
    const { held, child } = await program.answer();
    if (typeof child === 'number') outliving.push(child);
    return { program, held: held === true };
  }

  const kinds: [kind: string, argsOf: () => string[], acquire: () => ReturnType<typeof acquireLock>][] = [
    ['this platform’s', () => [scratch.path], () => acquireLock(scratch.path)],
    [
      'a socket file',
      () => ['--file', join(scratch.path, 'l.sock')],
      () => acquireFileLock(join(scratch.path, 'l.sock')),
    ],
  ];
  for (const [kind, argsOf, acquire] of kinds) {
    describe(kind, () => {
      it('is held by one process, and goes to the next once that one is killed, though a child of it lives on', async () => {
        const first = await hold(...argsOf());
        assert.equal(first.held, true);
        assert.equal(await acquire(), undefined);
        await first.program.kill();
        const lock = await acquire();
        assert.ok(lock);
        await lock.release();
      });

      it('is free after release', async () => {
        const first = await hold(...argsOf());
        first.program.say('release');
        assert.deepEqual(await first.program.answer(), { released: true });
        const lock = await acquire();
        assert.ok(lock);
        assert.equal(await acquire(), undefined);
        await lock.release();
      });

      it('stays held while its holder is stopped', async () => {
        const first = await hold(...argsOf());
        process.kill(first.program.pid, 'SIGSTOP');
        assert.equal(await acquire(), undefined);
      });

      it('goes to exactly one of several that find it stale at once', async () => {
        const first = await hold(...argsOf());
        await first.program.kill();
        for (let round = 0; round < 10; round++) {
          const locks = (await Promise.all(Array.from({ length: 6 }, () => acquire()))).filter(
            (lock) => lock !== undefined,
          );
          assert.equal(locks.length, 1, `round ${round}`);
          await locks[0]?.release();
        }
      });
    });
  }

  it('is another one for another folder', async () => {
    const first = await acquireLock(join(scratch.path, 'a'));
    const second = await acquireLock(join(scratch.path, 'b'));
    assert.ok(first && second);
    await first.release();
    await second.release();
  });

  it('leaves no socket file behind after release', async () => {
    const file = join(scratch.path, 'l.sock');
    const lock = await acquireFileLock(file);
    assert.ok(lock);
    assert.equal(existsSync(file), true);
    await lock.release();
    assert.equal(existsSync(file), false);
  });
});
