import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { GatewayClient } from '../../../client/gatewayClient';
import { ServeLine } from '../../../contract/discovery';
import { startGateway, type GatewayOptions, type RunningGateway } from '../../../server/gateway';

export const ROOT = resolve(__dirname, '..', '..', '..');
export const PYTHON = [join(ROOT, '.venv', 'bin', 'python'), 'python3'].find(
  (python) => python === 'python3' || existsSync(python),
) as string;

export interface TestGateway {
  gateway: RunningGateway;
  client: GatewayClient;
}

let shared: Promise<TestGateway> | undefined;
/** Ends those that a failed test left running. */
const spawned = new Set<SpawnedGateway>();

/** A gateway in this process with its own Postgres and lake, the same for every test file of one run. */
export function startTestGateway(): Promise<TestGateway> {
  shared ??= startOwnGateway();
  return shared;
}

after(async function () {
  this.timeout(60_000);
  await Promise.all([...spawned].map((one) => one.end()));
  const { gateway, client } = (await shared?.catch(() => undefined)) ?? {};
  client?.close();
  await gateway?.close();
  if (gateway) await rm(gateway.folder.dir, { recursive: true, force: true });
});

/** One that the caller closes, and whose folder the caller removes. */
export async function startOwnGateway(options: Partial<GatewayOptions> = {}): Promise<TestGateway> {
  const gateway = await startGateway({
    dataDir: options.dataDir ?? (await newDataDir()),
    host: '127.0.0.1',
    port: 0,
    python: PYTHON,
    ...options,
  });
  return { gateway, client: new GatewayClient(gateway) };
}

/** With a space in its name, as a user's may have. */
export function newDataDir(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'loft data-'));
}

export interface SpawnedGateway {
  line: ServeLine;
  client: GatewayClient;
  token: string;
  child: ChildProcess;
  /** Settles with the exit code. */
  ended: Promise<number | null>;
  /** Sends the signal and waits for the end; answers the exit code. */
  end(signal?: NodeJS.Signals): Promise<number | null>;
}

/** The built gateway in a process of its own, for tests that kill it. */
export async function spawnGateway(dataDir: string, args: string[] = []): Promise<SpawnedGateway> {
  const child = spawn(process.execPath, [join(ROOT, 'dist', 'gateway.js'), 'serve', '--data', dataDir, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise<number | null>((done) => child.once('close', done));
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const first = await new Promise<string | undefined>((done) => {
    createInterface({ input: child.stdout })
      .once('line', done)
      .once('close', () => done(undefined));
  });
  if (first === undefined) throw new Error(`the gateway did not start: ${errors}`);
  const line = ServeLine.parse(JSON.parse(first));
  const token = (await readFile(line.tokenFile, 'utf8')).trim();
  const gateway: SpawnedGateway = {
    line,
    token,
    child,
    ended,
    client: new GatewayClient({ url: line.url, token }),
    end: (signal = 'SIGTERM') => {
      child.kill(signal);
      return ended;
    },
  };
  spawned.add(gateway);
  void ended.then(() => spawned.delete(gateway));
  return gateway;
}

/** The lake is opened in the background. */
export async function untilOffline(client: GatewayClient): Promise<void> {
  const deadline = Date.now() + 60_000;
  while ((await client.call('health')).stores?.offline.state !== 'ok') {
    if (Date.now() > deadline) throw new Error('the lake was not opened within a minute');
    await delay(50);
  }
}
