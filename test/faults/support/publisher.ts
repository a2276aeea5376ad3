import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { LoftError } from '../../../contract/errors';
import type { Chance } from './chance';
import type { StoreUnderFire } from './storeUnderFire';

const RETRY_PAUSE_MS = 40;

function ledger(description: string) {
  return {
    entities: [{ name: 'account', keys: { account: 'int64' } }],
    views: [
      {
        ...{ name: 'ledger', entity: 'account', description },
        features: { batch: 'string', place: 'int32', size: 'int32', amount: 'int64' },
      },
    ],
  };
}

/**
 * A client that publishes one description after the other. A publish without an answer is sent again with the hash of its plan: done
 * or not the first time, it is done once, so the n-th answer is the registry's n-th version.
 */
export class Publisher {
  /** The registry's version at the last answer. */
  version = 0;
  private finishing = false;

  constructor(
    private readonly store: StoreUnderFire,
    private readonly chance: Chance,
  ) {}

  finish(): void {
    this.finishing = true;
  }

  /** The first publish, so that there is a view to push to. */
  async begin(): Promise<void> {
    await this.publishNext();
  }

  async run(): Promise<void> {
    while (!this.finishing) {
      await this.publishNext();
      await delay(this.chance.between(50, 400));
    }
  }

  private async publishNext(): Promise<void> {
    const definitions = ledger(`Described for the ${this.version + 1}. time`);
    const { planHash } = await this.untilAnswered(({ client }) => client.call('plan', { body: { definitions } }));
    const body = { definitions, planHash };
    const answer = await this.untilAnswered(({ client }) => client.call('publish', { body }));
    assert.equal(answer.registryVersion, this.version + 1);
    this.version = answer.registryVersion;
  }

  private async untilAnswered<Answer>(ask: (store: StoreUnderFire) => Promise<Answer>): Promise<Answer> {
    for (;;) {
      await this.store.ready();
      try {
        return await ask(this.store);
      } catch (error) {
        if (!(error instanceof LoftError && error.status === 503)) throw error;
        await delay(RETRY_PAUSE_MS);
      }
    }
  }
}
