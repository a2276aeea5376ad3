import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** A TypeScript program of test/gateway/support/programs in a process of its own, which answers in JSON lines. */
export interface Program {
  child: ChildProcess;
  pid: number;
  /** The next line of its output, parsed. Fails with what it wrote to standard error when it ends instead. */
  answer(): Promise<Record<string, unknown>>;
  say(line: string): void;
  /** SIGKILL, and waits until the kernel has taken everything back. */
  kill(): Promise<void>;
}

/**
 * Runs what follows as an account that is not root and owns nothing here. It may read everything, as an ordinary user may
 * read a checkout of their own; this one may be below a folder of root's.
 */
export const asNobody = (account: number): string[] => [
  'setpriv',
  `--reuid=${account}`,
  `--regid=${account}`,
  '--clear-groups',
  '--inh-caps=+dac_read_search',
  '--ambient-caps=+dac_read_search',
];

const repository = join(__dirname, '../../..');

export function startProgram(name: string, args: string[], options: SpawnOptions = {}, as: string[] = []): Program {
  const program = join(__dirname, 'programs', `${name}.ts`);
  const [command = '', ...words] = [...as, process.execPath, '--import', 'tsx', program, ...args];
  const child = spawn(command, words, {
    cwd: repository,
    ...options,
    stdio: 'pipe',
  });
  const { pid, stdin, stdout, stderr } = child;
  if (!pid || !stdin || !stdout || !stderr) throw new Error(`${name} could not be started`);
  stdin.on('error', () => undefined);
  let complaints = '';
  stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
  const ended = once(child, 'exit');
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  return {
    child,
    pid,
    async answer() {
      const line = await lines.next();
      if (!line.done) return JSON.parse(line.value) as Record<string, unknown>;
      await ended;
      throw new Error(`${name} ended with ${child.exitCode ?? child.signalCode}: ${complaints}`);
    },
    say: (line) => stdin.write(line + '\n'),
    async kill() {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await ended;
    },
  };
}

/** A scratch folder with a space in its path, and what removes it. */
export async function scratchFolder(parent = tmpdir()): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(parent, 'loft test-'));
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 5 }) };
}
