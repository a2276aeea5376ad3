import { spawn } from 'node:child_process';
import { acquireFileLock, acquireLock } from '../../../../server/lock';

// `lockHolder DIR`, or `lockHolder --file SOCKET`: says whether it has the lock, and lives until it is killed or told "release".
// A child that outlives it must not keep the lock.
async function main([first = '', second = '']: string[]): Promise<void> {
  const lock = first === '--file' ? await acquireFileLock(second) : await acquireLock(first);
  const child = lock && spawn('sleep', ['30'], { detached: true, stdio: 'ignore' });
  console.log(JSON.stringify({ held: lock !== undefined, child: child?.pid }));
  process.stdin.on('data', () => {
    void lock?.release().then(() => console.log(JSON.stringify({ released: true })));
  });
}

void main(process.argv.slice(2));
