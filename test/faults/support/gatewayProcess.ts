import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { findGateway, type FoundGateway } from '../../../client/discovery';
import { GatewayClient } from '../../../client/gatewayClient';

export const GATEWAY = resolve(__dirname, '../../../dist/gateway.js');
const START_TIMEOUT_MS = 120_000;
const POLL_MS = 25;

/** With a space in its name, as a user's may have. */
export function newDataDir(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'loft faults-'));
}

/** `serve` in a process of its own; what it wrote, and how it ended. */
export class GatewayProcess {
  readonly ended: Promise<void>;
  out = '';
  err = '';

  private constructor(readonly child: ChildProcess) {
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.out += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.err += text));
    this.ended = once(child, 'close').then(() => undefined);
  }

  static spawn(dataDir: string, args: string[] = []): GatewayProcess {
    return GatewayProcess.run(process.execPath, [GATEWAY, 'serve', '--data', dataDir, ...args]);
  }

  static run(command: string, args: string[]): GatewayProcess {
    return new GatewayProcess(spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] }));
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Sends the signal and waits for the end; answers the exit code, null when the signal ended it. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.child.kill(signal);
    await this.ended;
    return this.child.exitCode;
  }
}

export interface Served {
  process: GatewayProcess;
  found: FoundGateway;
  client: GatewayClient;
}

/** Starts a gateway and waits until it is found by its data folder, as any client finds it. */
export async function serve(dataDir: string, args: string[] = []): Promise<Served> {
  return served(dataDir, GatewayProcess.spawn(dataDir, args));
}

export async function served(dataDir: string, process: GatewayProcess): Promise<Served> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    if (!process.isRunning) throw new Error(`the gateway ended while it started: ${process.err}`);
    const found = await findGateway(dataDir);
    if (found?.pid === process.pid) return { process, found, client: new GatewayClient(found) };
    if (Date.now() > deadline) throw new Error(`the gateway did not start in time: ${process.err}`);
    await delay(POLL_MS);
  }
}
