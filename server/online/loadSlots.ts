import { LoftError } from '../../contract/errors';
import type { Db } from '../postgres/connect';

/** A bulk load keeps a connection and much of a core for as long as it runs, which others need meanwhile. */
const MAX_LOADS = 3;
const MAX_WAITING = 32;
const LONGEST_WAIT_MS = 300_000;

interface Slots {
  running: number;
  waiting: (() => void)[];
}
const slotsOf = new WeakMap<Db, Slots>();

/**
 * Runs a bulk load when it is its turn: a few at once, in the order they came. Throws LoftError 503 `too_many_loads` when
 * too many wait, or after five minutes.
 */
export async function inLoadSlot<Result>(db: Db, load: () => Promise<Result>): Promise<Result> {
  let slots = slotsOf.get(db);
  if (slots === undefined) slotsOf.set(db, (slots = { running: 0, waiting: [] }));
  if (slots.running < MAX_LOADS) slots.running++;
  else await turn(slots);
  try {
    return await load();
  } finally {
    const next = slots.waiting.shift();
    if (next === undefined) slots.running--;
    else next(); // hands its slot on
  }
}

function turn(slots: Slots): Promise<void> {
  if (slots.waiting.length >= MAX_WAITING) throw tooMany();
  return new Promise((resolve, reject) => {
    const mine = (): void => {
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(() => {
      slots.waiting.splice(slots.waiting.indexOf(mine), 1);
      reject(tooMany());
    }, LONGEST_WAIT_MS);
    slots.waiting.push(mine);
  });
}

function tooMany(): LoftError {
  return new LoftError(
    503,
    'too_many_loads',
    `This gateway runs ${MAX_LOADS} bulk loads at once, and too many wait already. Nothing was written; try again later.`,
    { retryAfterSeconds: 10 },
  );
}
