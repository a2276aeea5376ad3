import { spawn } from 'node:child_process';
import { PYTHON, type Store } from './store';

const TIMEOUT_MS = 120_000;
const CONNECTED = 'import featureloft as fl\nstore = fl.connect()\n';
const PRELUDE = 'import json, sys\ngiven = json.load(sys.stdin)\n';

/**
 * Runs Python with the real package: `store` is connected to the running gateway, `given` holds the values. Answers what
 * the code printed as one JSON document.
 */
export function byLibrary(store: Store, code: string, given: unknown = {}): Promise<unknown> {
  return run(PRELUDE + CONNECTED + code, given, { ...process.env, FEATURELOFT_DATA: store.dataDir });
}

/** Runs Python that knows nothing of Feature Loft: another program that looks at its files. */
export function python(code: string, given: unknown): Promise<unknown> {
  return run(PRELUDE + code, given, process.env);
}

function run(code: string, given: unknown, env: NodeJS.ProcessEnv): Promise<unknown> {
  const child = spawn(PYTHON, ['-c', code], { env, stdio: ['pipe', 'pipe', 'pipe'], timeout: TIMEOUT_MS });
  let [printed, errors] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  child.stdin.on('error', () => undefined).end(JSON.stringify(given));
  return new Promise((done, failed) => {
    child.once('error', failed);
    child.once('close', (status, signal) => {
      if (status === 0) done(JSON.parse(printed));
      else failed(new Error(`Python ended with ${signal ?? `code ${status}`}:\n${errors}`));
    });
  });
}
