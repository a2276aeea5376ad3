import { setTimeout as delay } from 'node:timers/promises';
import type { GatewayClient } from '../../../client/gatewayClient';
import { gone, postmasterOf, workerOf } from '../../support/processes';
import type { Chance } from './chance';
import { GatewayProcess, serve, type Served } from './gatewayProcess';

export type Victim = 'gateway' | 'gateway while it starts' | 'worker' | 'Postgres' | 'gateway and Postgres';

/** A store whose processes are killed, and whose gateway is started again each time. */
export class StoreUnderFire {
  /** Counts the gateways: what failed with an earlier one may be tried with this. */
  generation = 1;
  longestStartMs = 0;
  private current: Promise<Served>;

  private constructor(
    private readonly dataDir: string,
    served: Served,
  ) {
    this.current = Promise.resolve(served);
    this.client = served.client;
  }

  /** Of the newest gateway that was ready. */
  client: GatewayClient;

  static async start(dataDir: string): Promise<StoreUnderFire> {
    return new StoreUnderFire(dataDir, await serve(dataDir));
  }

  /** The gateway once it is ready. */
  ready(): Promise<Served> {
    return this.current;
  }

  /** Kills the victim and, where that was the gateway, returns when the next one is ready. Answers who was killed. */
  async kill(victim: Victim, chance: Chance): Promise<Victim> {
    const { process: gateway } = await this.current;
    switch (victim) {
      case 'worker': {
        const worker = await workerOf(gateway.pid);
        if (worker === undefined) return this.kill('gateway', chance);
        process.kill(worker, 'SIGKILL');
        return victim;
      }
      case 'Postgres':
        await this.killPostgres();
        return victim;
      case 'gateway and Postgres':
        await Promise.all([this.restart(() => Promise.resolve()), this.killPostgres()]);
        return victim;
      case 'gateway while it starts':
        await this.restart(async () => {
          const next = GatewayProcess.spawn(this.dataDir);
          await delay(chance.between(50, 1_500));
          await next.end('SIGKILL');
        });
        return victim;
      case 'gateway':
        await this.restart(() => Promise.resolve());
        return victim;
    }
  }

  async stop(): Promise<void> {
    const { process: gateway, client } = await this.current;
    client.close();
    if (!gateway.isRunning) return;
    const code = await gateway.end('SIGTERM');
    if (code !== 0) throw new Error(`the gateway ended with code ${code}: ${gateway.err}`);
  }

  private restart(meanwhile: () => Promise<void>): Promise<void> {
    const before = this.current;
    this.current = before.then(async ({ process: gateway, client }) => {
      await gateway.end('SIGKILL');
      client.close();
      await meanwhile();
      const began = performance.now();
      const served = await serve(this.dataDir);
      this.longestStartMs = Math.max(this.longestStartMs, Math.round(performance.now() - began));
      this.generation++;
      this.client = served.client;
      return served;
    });
    return this.current.then(() => undefined);
  }

  private async killPostgres(): Promise<void> {
    const postmaster = await postmasterOf(this.dataDir);
    if (postmaster === undefined) return;
    process.kill(postmaster, 'SIGKILL');
    await gone(postmaster);
  }
}
