import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from './gateway';

export interface CliResult {
  code: number | null;
  out: string;
  err: string;
}

/** Runs the built command line. Nothing of this machine's configuration of Feature Loft reaches it. */
export function runCli(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<CliResult> {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('FEATURELOFT_'));
  const child = spawn(process.execPath, [join(ROOT, 'dist', 'cli.js'), ...args], {
    env: { ...Object.fromEntries(inherited), ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const result: CliResult = { code: null, out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (result.out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (result.err += text));
  return new Promise((done) => child.once('close', (code) => done({ ...result, code })));
}
