import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { SampleStep } from '../../client/sample';
import { runCli } from '../gateway/support/cli';
import { PYTHON, ROOT } from '../gateway/support/gateway';
import { Chance } from './support/chance';
import { newDataDir } from './support/gatewayProcess';

const SEED = Number(process.env['LOFT_FAULT_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
/** Killed after so many lines of output, and then at most this much later. */
const LINES = [0, 1, 2, 3, 6, 7];
const LONGEST_WAIT_MS = 2_500;

describe('the sample', function () {
  this.timeout(600_000);
  let dataDir: string;
  before(async () => (dataDir = await newDataDir()));
  after(async () => {
    await runCli(['--data', dataDir, 'stop']);
    await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
  });

  it(`is completed by a next run wherever it was killed, and loads nothing twice (LOFT_FAULT_SEED=${SEED})`, async () => {
    const chance = new Chance(SEED);
    for (const lines of LINES) await runAndKill(dataDir, lines, chance.between(0, LONGEST_WAIT_MS));

    const first = await runSample(dataDir);
    const second = await runSample(dataDir);
    assert.ok(second.every(({ step, already }) => already || step === 'search' || step === 'online'));
    for (const steps of [first, second]) {
      const facts = new Map(steps.map((step) => [step.step, step.facts]));
      assert.equal(facts.get('publish')?.['registryVersion'], 1);
      assert.equal(facts.get('online')?.['present'], true);
      const { name, version, rows } = facts.get('trainingSet') ?? {};
      assert.deepEqual({ name, version, rows }, { name: 'flight_delays', version: 1, rows: 327_550 });
      assert.ok(Number(facts.get('train')?.['score']) > Number(facts.get('train')?.['baseline']));
    }
    const loaded = second.find(({ step }) => step === 'load')?.facts as Record<string, { rows: number }>;
    assert.deepEqual(
      Object.entries(loaded).map(([view, { rows }]) => [view, rows]),
      [
        ['airport_weather', 26_115],
        ['carrier_delay_history', 5_402],
        ['plane_facts', 3_322],
      ],
    );
  });
});

async function runSample(dataDir: string): Promise<SampleStep[]> {
  const { code, out, err } = await runCli(['--data', dataDir, '--json', 'sample', '--once', '--python', PYTHON]);
  assert.equal(code, 0, err);
  return (JSON.parse(out) as { steps: SampleStep[] }).steps;
}

async function runAndKill(dataDir: string, lines: number, waitMs: number): Promise<void> {
  const cli = join(ROOT, 'dist', 'cli.js');
  const child = spawn(process.execPath, [cli, '--data', dataDir, 'sample', '--python', PYTHON], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const closed = once(child, 'close');
  let seen = 0;
  const reached = new Promise<void>((done) => {
    if (lines === 0) done();
    createInterface({ input: child.stdout }).on('line', () => {
      if (++seen === lines) done();
    });
  });
  await Promise.race([reached, closed]);
  await delay(waitMs);
  child.kill('SIGKILL');
  await closed;
  await killGateway(dataDir);
}

/** The gateway outlives whoever started it, and may not have come as far as its discovery file. */
async function killGateway(dataDir: string): Promise<void> {
  const log = await readFile(join(dataDir, 'logs', 'gateway.log'), 'utf8').catch(() => '');
  const started = log.split('\n').findLast((line) => line.includes('"event":"starting"'));
  const pid = started === undefined ? undefined : (JSON.parse(started) as { pid: number }).pid;
  try {
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended, or the one that is starting has not written its line yet and is found by the next run.
  }
}
