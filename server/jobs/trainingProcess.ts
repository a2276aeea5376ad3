import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** After this long without obeying SIGTERM, the group is killed. */
const TERM_GRACE_MS = 5_000;
const MAX_LOG_BYTES = 20 * 1024 * 1024;
const KEPT_ERROR_LINES = 30;
const PID_FILE = 'pid';

export interface TrainingOptions {
  python: string;
  jobDir: string;
  url: string;
  token: string;
  trainingSet: string;
  version: number;
  label: string | undefined;
  testFraction: number | undefined;
  onLine: (line: string) => void;
}

export interface TrainingEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** The last lines of standard error. */
  errors: string[];
  /** Set when the process could not be started at all. */
  failure?: string;
}

/**
 * `python -m featureloft.train` in a process group of its own, without a shell, and with an environment that holds nothing of
 * ours but this job's token. It writes its results into the job's folder, and what it prints is kept in `log.txt` there.
 */
export class TrainingProcess {
  /** Never rejects. */
  readonly ended: Promise<TrainingEnd>;
  private readonly child: ChildProcess;
  private killTimer: NodeJS.Timeout | undefined;

  constructor(options: TrainingOptions) {
    this.child = spawn(options.python, argumentsOf(options), {
      cwd: options.jobDir,
      detached: process.platform !== 'win32',
      windowsHide: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environmentOf(options),
    });
    this.ended = this.follow(options);
  }

  /** Asks the whole group to end, and makes it after a moment. */
  cancel(): void {
    if (this.child.exitCode !== null || this.child.signalCode !== null || this.killTimer) return;
    this.signal('SIGTERM');
    this.killTimer = setTimeout(() => this.signal('SIGKILL'), TERM_GRACE_MS);
  }

  private async follow({ jobDir, onLine }: TrainingOptions): Promise<TrainingEnd> {
    const { child } = this;
    const log = createWriteStream(join(jobDir, 'log.txt'), { flags: 'w', mode: 0o600 }).on('error', () => undefined);
    const errors: string[] = [];
    let written = 0;
    const keep = (line: string): void => {
      written += line.length + 1;
      if (written <= MAX_LOG_BYTES) log.write(`${line}\n`);
    };
    const outLines = child.stdout ? createInterface({ input: child.stdout }) : undefined;
    outLines?.on('line', (line) => {
      keep(line);
      onLine(line);
    });
    const errorLines = child.stderr ? createInterface({ input: child.stderr }) : undefined;
    errorLines?.on('line', (line) => {
      keep(line);
      errors.push(line);
      if (errors.length > KEPT_ERROR_LINES) errors.shift();
      onLine(line);
    });
    const end = new Promise<TrainingEnd>((done) => {
      child.once('error', (error) => done({ code: null, signal: null, errors, failure: error.message }));
      child.once('close', (code, signal) => done({ code, signal, errors }));
    });
    if (child.pid !== undefined) {
      // On a full disk the job goes on: only a gateway that is killed meanwhile could not find its process.
      await writeFile(join(jobDir, PID_FILE), String(child.pid), { mode: 0o600 }).catch(() => undefined);
    }
    const result = await end;
    clearTimeout(this.killTimer);
    // What it started itself and left behind must not outlive its job.
    this.signal('SIGKILL');
    await new Promise<void>((done) => log.end(done));
    return result;
  }

  private signal(signal: NodeJS.Signals): void {
    const { pid } = this.child;
    if (pid === undefined) return;
    if (process.platform === 'win32') this.child.kill(signal);
    else signalGroup(pid, signal);
  }
}

function argumentsOf(options: TrainingOptions): string[] {
  return [
    '-m',
    'featureloft.train',
    ...['--training-set', options.trainingSet, '--version', String(options.version)],
    ...(options.label === undefined ? [] : ['--label', options.label]),
    ...(options.testFraction === undefined ? [] : ['--test-fraction', String(options.testFraction)]),
  ];
}

/** What Python needs to start, and nothing that the gateway was given: no database password, no cloud key, no other token. */
const passedOn = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'TEMP', 'TMP', 'SYSTEMROOT', 'USERPROFILE'];

function environmentOf(options: TrainingOptions): NodeJS.ProcessEnv {
  const kept = passedOn.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    ...Object.fromEntries(kept),
    PYTHONUNBUFFERED: '1',
    PYTHONIOENCODING: 'utf-8',
    FEATURELOFT_URL: options.url,
    FEATURELOFT_TOKEN: options.token,
    FEATURELOFT_JOB_DIR: options.jobDir,
  };
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // The group is gone.
  }
}

/**
 * Ends the training process that a killed gateway left behind. A pid alone may by now be anybody's: on Linux it is ours if its
 * environment names this job's folder; elsewhere it is left to end by itself.
 */
export async function endLeftover(jobDir: string): Promise<void> {
  if (process.platform !== 'linux') return;
  try {
    const pid = Number(await readFile(join(jobDir, PID_FILE), 'utf8'));
    if (!Number.isSafeInteger(pid) || pid <= 1) return;
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8');
    if (environment.split('\0').includes(`FEATURELOFT_JOB_DIR=${jobDir}`)) signalGroup(pid, 'SIGKILL');
  } catch {
    // No file, or no such process: nothing was left.
  }
}
