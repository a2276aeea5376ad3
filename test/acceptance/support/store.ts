import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after } from 'mocha';
import { startGateway, stopGateway, type FoundGateway } from '../../../client/discovery';
import { GatewayClient } from '../../../client/gatewayClient';
import { uploadOnce } from '../../../client/publishFiles';
import { runSample, type SampleStep } from '../../../client/sample';
import { UploadMemory } from '../../../client/uploadMemory';
import type { DatasetVersion } from '../../../contract/api';
import { askPostgres } from '../../support/postgres';
import { gone } from '../../support/processes';

export const ROOT = resolve(__dirname, '../../..');
export const PYTHON = join(ROOT, '.venv', 'bin', 'python');
const GATEWAY = join(ROOT, 'dist', 'gateway.js');
const SAMPLE = join(ROOT, 'examples', 'nycflights');

/** The built gateway as its users start it, in a data folder of its own: its Postgres, its lake, its worker. */
export class Store {
  private sampled: Promise<SampleStep[]> | undefined;
  private spine: Promise<DatasetVersion> | undefined;

  private constructor(
    readonly dataDir: string,
    private found: FoundGateway,
    private ownClient: GatewayClient,
  ) {}

  static async start(): Promise<Store> {
    for (const file of [GATEWAY, PYTHON]) if (!existsSync(file)) throw new Error(`${file} is not there: npm run setup`);
    const dataDir = await mkdtemp(join(tmpdir(), 'loft acceptance-'));
    const found = await startIn(dataDir);
    return new Store(dataDir, found, new GatewayClient(found));
  }

  get url(): string {
    return this.found.url;
  }

  get token(): string {
    return this.found.token;
  }

  get pid(): number {
    return this.found.pid;
  }

  get client(): GatewayClient {
    return this.ownClient;
  }

  /** Another client on connections of its own; the caller closes it. */
  secondClient(): GatewayClient {
    return new GatewayClient(this.found);
  }

  /** SIGKILL leaves the gateway no moment to tidy up; its Postgres outlives it. Answers how long the way back took, in ms. */
  async restart(how: 'in order' | 'SIGKILL'): Promise<number> {
    this.ownClient.close();
    if (how === 'in order') await stopGateway(this.found);
    else {
      process.kill(this.found.pid, 'SIGKILL');
      await gone(this.found.pid);
    }
    const began = performance.now();
    this.found = await startIn(this.dataDir);
    this.ownClient = new GatewayClient(this.found);
    return Math.round(performance.now() - began);
  }

  async stop(): Promise<void> {
    this.ownClient.close();
    await stopGateway(this.found);
    await rm(this.dataDir, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Asks Postgres itself, past the gateway. */
  sql(statement: string, parameters: unknown[] = []): Promise<Record<string, string | null>[]> {
    return askPostgres(this.dataDir, statement, parameters);
  }

  /** nycflights, published and loaded as `npm start` does it, up to the online read. Done once. */
  sample(): Promise<SampleStep[]> {
    this.sampled ??= this.loadSample();
    return this.sampled;
  }

  /** The sample's flights, labelled and with the shifted times, as the dataset `flights`. Uploaded once. */
  flights(): Promise<DatasetVersion> {
    this.spine ??= this.uploadFlights();
    return this.spine;
  }

  private async loadSample(): Promise<SampleStep[]> {
    const steps: SampleStep[] = [];
    const options = { client: this.client, dataDir: this.dataDir, sampleDir: SAMPLE, python: PYTHON };
    for await (const step of runSample(options)) {
      steps.push(step);
      if (step.step === 'online') break;
    }
    return steps;
  }

  private async uploadFlights(): Promise<DatasetVersion> {
    await this.sample();
    const memory = new UploadMemory(join(this.dataDir, 'uploads.json'));
    const file = join(this.dataDir, 'sample', 'flights.parquet');
    return (await uploadOnce(this.client, 'flights', file, memory)).dataset;
  }
}

function startIn(dataDir: string): Promise<FoundGateway> {
  return startGateway({ dir: dataDir, gatewayPath: GATEWAY, args: ['--python', PYTHON] });
}

let shared: Promise<Store> | undefined;

/** The one store of this run. */
export function sharedStore(): Promise<Store> {
  shared ??= Store.start();
  return shared;
}

// Registered on mocha's root suite, because this file is loaded outside of any describe().
after(async function () {
  this.timeout(60_000);
  await (await shared?.catch(() => undefined))?.stop();
});
