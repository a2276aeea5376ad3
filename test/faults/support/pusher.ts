import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { LoftError } from '../../../contract/errors';
import { Chance } from './chance';
import type { StoreUnderFire } from './storeUnderFire';

/** A batch as it was sent, and what became of it. */
export interface Sent {
  id: string;
  size: number;
  /** Sums over its rows, by which they are known again. */
  amount: bigint;
  /** In µs. */
  event: bigint;
  answered: boolean;
}

interface Batch extends Sent {
  body: string;
}

const ACCOUNTS = 60;
const FIRST_EVENT_US = BigInt(Date.UTC(2024, 0, 1)) * 1_000n;
const ANSWER_TIMEOUT_MS = 60_000;
const RETRY_PAUSE_MS = 40;

/**
 * A client that pushes batches one after the other. Most are sent until they are answered, each time with the same
 * Idempotency-Key; some only once and without a key, by a client that gives up: those may be stored or not, but whole.
 */
export class Pusher {
  readonly sent: Sent[] = [];
  answered = 0;
  retries = 0;
  private readonly chance: Chance;
  private finishing = false;

  constructor(
    private readonly store: StoreUnderFire,
    private readonly name: string,
    seed: number,
  ) {
    this.chance = new Chance(seed);
  }

  finish(): void {
    this.finishing = true;
  }

  get isFinishing(): boolean {
    return this.finishing;
  }

  /** Pushes until `finish`. Fails with what a client must never see. */
  async run(): Promise<void> {
    while (!this.finishing) {
      const { body, ...batch } = this.nextBatch();
      this.sent.push(batch);
      if (this.chance.next() < 0.3) await this.sendOnce(batch, body);
      else await this.sendUntilAnswered(batch, body);
      await delay(this.chance.between(20, 100));
    }
  }

  private async sendOnce(batch: Sent, body: string): Promise<void> {
    try {
      await this.send(batch, body, {});
    } catch (error) {
      if (!(error instanceof LoftError)) throw error;
    }
  }

  private async sendUntilAnswered(batch: Sent, body: string): Promise<void> {
    const headers = { 'idempotency-key': randomUUID() };
    for (;;) {
      const { generation } = this.store;
      try {
        await this.send(batch, body, headers);
        return;
      } catch (error) {
        // Another program may meanwhile listen where a killed gateway did.
        const isStranger = error instanceof LoftError && error.status < 500 && generation !== this.store.generation;
        if (!(error instanceof LoftError && (error.status === 503 || isStranger))) throw error;
        this.retries++;
        await delay(RETRY_PAUSE_MS);
      }
    }
  }

  private async send(batch: Sent, text: string, headers: Record<string, string>): Promise<void> {
    const { client } = await this.store.ready();
    const answer = await client.call('writeRows', {
      params: { view: 'ledger' },
      rows: { text, type: 'application/json' },
      headers,
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    if (answer.written + answer.superseded !== batch.size || answer.rejected !== 0)
      throw new Error(`batch ${batch.id} of ${batch.size} rows was answered ${JSON.stringify(answer)}`);
    batch.answered = true;
    this.answered++;
  }

  /** Mostly small, at times large enough to be copied in; times often tie, so that the write's number decides. */
  private nextBatch(): Batch {
    const { chance } = this;
    const [low, high] = sizes[chance.pick({ small: 80, middle: 17, large: 3 })];
    const size = chance.between(low, high);
    const id = `${this.name}-${this.sent.length}`;
    let [amount, event] = [0n, 0n];
    const rows = Array.from({ length: size }, (_, place) => {
      const own = chance.between(-1_000_000, 1_000_000);
      const at = FIRST_EVENT_US + BigInt(chance.between(0, 3_000)) * 1_000_001n;
      amount += BigInt(own);
      event += at;
      const row = {
        account: chance.between(1, ACCOUNTS),
        batch: id,
        place,
        size,
        amount: own,
        event_timestamp: iso(at),
      };
      return chance.next() < 0.5 ? row : { ...row, created_timestamp: iso(at) };
    });
    return { id, size, amount, event, answered: false, body: JSON.stringify({ rows }) };
  }
}

const sizes = { small: [1, 10], middle: [20, 80], large: [1_050, 1_400] } as const;

/** µs since 1970 → RFC 3339. */
function iso(us: bigint): string {
  const [seconds] = new Date(Number(us / 1_000n)).toISOString().split('.');
  return `${seconds}.${String(us % 1_000_000n).padStart(6, '0')}Z`;
}
