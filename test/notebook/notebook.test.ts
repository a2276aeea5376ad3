import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { startGateway, stopGateway, type FoundGateway } from '../../client/discovery';
import { GatewayClient } from '../../client/gatewayClient';
import { runSample } from '../../client/sample';

const ROOT = resolve(__dirname, '..', '..');
const PYTHON = join(ROOT, '.venv', ...(process.platform === 'win32' ? ['Scripts', 'python.exe'] : ['bin', 'python']));
const GATEWAY = join(ROOT, 'dist', 'gateway.js');
const LOAD_TIMEOUT_MS = 240_000;
const NOTEBOOK_TIMEOUT_MS = 420_000;

describe('the sample’s notebook under a real ipykernel', () => {
  let dir: string;
  let gateway: FoundGateway | undefined;

  before(async function () {
    this.timeout(LOAD_TIMEOUT_MS);
    assert.ok(existsSync(GATEWAY), `${GATEWAY} is not there: run \`npm run build\` first.`);
    dir = await mkdtemp(join(tmpdir(), 'loft-notebook-'));
    gateway = await startGateway({ dir, gatewayPath: GATEWAY });
    const client = new GatewayClient(gateway);
    const sampleDir = join(ROOT, 'examples', 'nycflights');
    // Up to the spine; the notebook builds its training set itself, and trains its own model.
    for await (const { step } of runSample({ client, dataDir: dir, sampleDir, python: PYTHON })) {
      if (step === 'trainingSet') break;
    }
    client.close();
  });

  after(async function () {
    this.timeout(60_000);
    if (gateway) await stopGateway(gateway);
    await rm(dir, { recursive: true, force: true });
  });

  it('runs to its end, reads a present value, and the features make the model better', async function () {
    this.timeout(NOTEBOOK_TIMEOUT_MS);
    const { stdout } = await promisify(execFile)(PYTHON, [join(__dirname, 'run_notebook.py')], {
      env: { ...process.env, FEATURELOFT_DATA: dir },
      timeout: NOTEBOOK_TIMEOUT_MS,
    });
    const found = JSON.parse(stdout) as { cells: number; score: number; alone: number };
    assert.equal(found.cells, 6);
    assert.ok(found.score > 0.7, `ROC AUC ${found.score}`);
    assert.ok(found.score > found.alone + 0.02, `ROC AUC ${found.score} with the features, ${found.alone} without`);
  });
});
