// One set-up of a kind at a time in a checkout: the lock is a folder, since making one is atomic everywhere.
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CACHE } from './checkout.mjs';
import { say } from './report.mjs';

const POLL_MS = 200;
const HEARTBEAT_MS = 5_000;
/** A lock without a heartbeat for this long was left behind, even if its pid is (by now) a living process's. */
const SILENCE_MS = 30_000;
/** A holder writes its pid at once; one that has not in this time was killed in between. */
const NAMELESS_MS = 3_000;

/** Runs `action` while no other process of this checkout does one under the same name; waits for as long as that lives. */
export async function withLock(name, action) {
  const folder = join(CACHE, `${name}.lock`);
  const owner = join(folder, 'pid');
  mkdirSync(CACHE, { recursive: true });
  const silence = { heartbeat: undefined, since: 0 };
  for (let told = false; !take(folder); told = true) {
    if (ownerIsDead(owner) || isSilent(folder, silence, existsSync(owner) ? SILENCE_MS : NAMELESS_MS)) {
      rmSync(folder, { recursive: true, force: true });
      continue;
    }
    if (!told) say(`${name}: another process is at it; waiting …`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  writeFileSync(owner, String(process.pid));
  const heartbeat = setInterval(() => utimesSync(folder, new Date(), new Date()), HEARTBEAT_MS);
  try {
    return await action();
  } finally {
    clearInterval(heartbeat);
    rmSync(folder, { recursive: true, force: true });
  }
}

function take(folder) {
  try {
    mkdirSync(folder);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

function ownerIsDead(owner) {
  try {
    process.kill(Number(readFileSync(owner, 'utf8')), 0);
    return false;
  } catch (error) {
    return error.code === 'ESRCH';
  }
}

/** Silence is measured on our own monotonic clock, so that a machine woken from sleep does not end a living holder's lock. */
function isSilent(folder, silence, limitMs) {
  const heartbeat = statSync(folder, { throwIfNoEntry: false })?.mtimeMs;
  if (heartbeat !== silence.heartbeat) Object.assign(silence, { heartbeat, since: performance.now() });
  return performance.now() - silence.since > limitMs;
}
