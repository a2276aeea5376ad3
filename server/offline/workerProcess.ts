import { fork, type ChildProcess } from 'node:child_process';
import { LoftError } from '../../contract/errors';
import type { Log } from '../log';
import type { OpenedLake, WorkerAnswer, WorkerCalls, WorkerOperation } from './protocol';

export interface WorkerOptions {
  /** The worker's entry: dist/worker.js, or its TypeScript source with `execArgv` that loads it. */
  script: string;
  execArgv?: readonly string[];
  /** What the lake is opened with, at each start of a process. */
  open: WorkerCalls['open']['request'];
  log: Log;
  /** Above so much resident memory an idle worker is replaced. Default: the memory limit and 1 GB. */
  recycleBytes?: number;
}

/** How long each operation may take before the worker counts as stuck and is replaced. */
const TIMEOUT_MS: Record<WorkerOperation, number> = {
  open: 120_000,
  ingestDataset: 1_800_000,
  describeDataset: 300_000,
  exportDataset: 1_800_000,
  fileColumns: 600_000,
  toCells: 1_800_000,
  drain: 600_000,
  buildTrainingSet: 3_600_000,
  exportParquet: 1_800_000,
  verifyLake: 3_600_000,
  close: 10_000,
};
const EXIT_TIMEOUT_MS = 5_000;
const MEBIBYTE = 1_048_576;

interface Pending {
  operation: WorkerOperation;
  resolve(answer: unknown): void;
  reject(error: Error): void;
  timer: NodeJS.Timeout;
}

/** One live process. A crash fails what is pending in it and nothing else. */
interface Running {
  child: ChildProcess;
  pending: Map<number, Pending>;
  opened: Promise<OpenedLake>;
  /** Why it was killed, when we did it. */
  reason?: string;
  /** Takes no new work: it ends when what is pending is done. */
  retiring: boolean;
  /** Has been told to close. */
  ending: boolean;
  exited: Promise<void>;
}

/**
 * Owns the offline worker: starts it when first needed and again after it died, keeps one map of requests, and ends with the
 * gateway (the worker exits when its channel closes).
 */
export class WorkerProcess {
  private running: Running | undefined;
  private nextId = 1;
  private closed = false;
  private readonly recycleBytes: number;
  /** How often a worker was started, for health. */
  starts = 0;

  constructor(private readonly options: WorkerOptions) {
    this.recycleBytes = options.recycleBytes ?? bytesOf(options.open.memoryLimit) + 1_024 * MEBIBYTE;
  }

  /** Opens the lake in a fresh worker if need be. Rejects with what the worker said, such as 409 `lake_missing`. */
  async openLake(create: boolean, newLakeId: string): Promise<OpenedLake> {
    this.options.open.create = create;
    this.options.open.newLakeId = newLakeId;
    return (await this.ready()).opened;
  }

  /** The lake stands now: a worker that replaces this one must not make another. */
  rememberLake(): void {
    this.options.open.create = false;
  }

  async call<Operation extends WorkerOperation>(
    operation: Operation,
    request: WorkerCalls[Operation]['request'],
  ): Promise<WorkerCalls[Operation]['answer']> {
    for (;;) {
      const running = await this.ready();
      await running.opened;
      // It may have been sent home while we waited.
      if (!running.retiring) return this.send(running, operation, request);
    }
  }

  /** Ends the worker at once; what is pending fails with 503. The next call starts another. */
  async kill(reason: string): Promise<void> {
    const { running } = this;
    if (!running) return;
    running.reason = reason;
    running.child.kill('SIGKILL');
    await running.exited;
  }

  async close(): Promise<void> {
    this.closed = true;
    const { running } = this;
    if (!running) return;
    running.retiring = true;
    running.ending = true;
    await this.send(running, 'close', {}).catch(() => undefined);
    await end(running);
  }

  get pid(): number | undefined {
    return this.running?.child.pid;
  }

  private async ready(): Promise<Running> {
    // The catalog belongs to one process: the old one must be gone first.
    while (this.running?.retiring && !this.closed) await this.running.exited;
    if (this.closed) throw new LoftError(503, 'stopping', 'The gateway is stopping.', { retryAfterSeconds: 5 });
    this.running ??= this.start();
    return this.running;
  }

  private start(): Running {
    this.starts++;
    const child = fork(this.options.script, [], {
      execArgv: [...(this.options.execArgv ?? [])],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      serialization: 'json',
    });
    const pending = new Map<number, Pending>();
    const running: Running = {
      child,
      pending,
      opened: Promise.resolve({} as OpenedLake),
      retiring: false,
      ending: false,
      exited: Promise.resolve(),
    };
    running.exited = new Promise((done) => {
      const ended = (code: number | null, signal: string | null): void => {
        this.fail(running, code, signal);
        done();
      };
      child.once('exit', ended);
      child.once('error', (error) => {
        running.reason = `could not be started: ${error.message}`;
        if (child.pid === undefined) ended(null, null);
      });
    });
    child.on('message', (message) => this.receive(running, message as WorkerAnswer));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => this.options.log.info('worker', { text }));
    running.opened = this.send(running, 'open', this.options.open);
    running.opened.catch(() => this.retire(running));
    return running;
  }

  private send<Operation extends WorkerOperation>(
    running: Running,
    operation: Operation,
    request: WorkerCalls[Operation]['request'],
  ): Promise<WorkerCalls[Operation]['answer']> {
    return new Promise((resolve, reject) => {
      const id = this.nextId++;
      const timer = setTimeout(() => {
        running.reason = `${operation} took longer than ${TIMEOUT_MS[operation] / 1_000} s`;
        running.child.kill('SIGKILL');
      }, TIMEOUT_MS[operation]);
      running.pending.set(id, {
        operation,
        resolve: resolve,
        reject,
        timer,
      });
      // A channel that is closed already is told of by 'exit'.
      running.child.send({ id, operation, request }, () => undefined);
    });
  }

  private receive(running: Running, answer: WorkerAnswer): void {
    const pending = running.pending.get(answer.id);
    if (!pending) return;
    running.pending.delete(answer.id);
    clearTimeout(pending.timer);
    if (answer.ok) pending.resolve(answer.answer);
    else {
      const { status, code, detail, problems } = answer.error;
      pending.reject(new LoftError(status, code, detail, problems ? { problems } : {}));
    }
    if (answer.residentBytes > this.recycleBytes && !running.retiring && pending.operation !== 'open') {
      this.options.log.info('worker recycled', { residentBytes: answer.residentBytes });
      this.retire(running);
    }
    this.endWhenIdle(running);
  }

  private retire(running: Running): void {
    running.retiring = true;
    this.endWhenIdle(running);
  }

  private endWhenIdle(running: Running): void {
    if (!running.retiring || running.ending || running.pending.size > 0) return;
    running.ending = true;
    void this.send(running, 'close', {})
      .catch(() => undefined)
      .then(() => end(running));
  }

  private fail(running: Running, code: number | null, signal: string | null): void {
    if (this.running === running) this.running = undefined;
    running.retiring = true;
    for (const pending of running.pending.values()) {
      clearTimeout(pending.timer);
      pending.reject(diedError(pending.operation, running.reason, code, signal));
    }
    if (running.pending.size > 0) this.options.log.info('worker died', { code, signal, reason: running.reason });
    running.pending.clear();
  }
}

async function end(running: Running): Promise<void> {
  if (running.child.connected) running.child.disconnect();
  const timer = setTimeout(() => running.child.kill('SIGKILL'), EXIT_TIMEOUT_MS);
  await running.exited;
  clearTimeout(timer);
}

function diedError(
  operation: WorkerOperation,
  reason: string | undefined,
  code: number | null,
  signal: string | null,
): LoftError {
  const how =
    reason ??
    (signal === 'SIGKILL' ? 'killed, as the system does when memory runs out' : `ended by ${signal ?? `code ${code}`}`);
  const stored =
    operation === 'drain' || operation === 'ingestDataset' ? ' What it had not committed is not stored.' : '';
  return new LoftError(
    503,
    'offline_worker_died',
    `The offline worker died during ${wordsOf[operation]} (${how}).${stored} It starts again with the next request; if this one needs much memory, ask for fewer columns or rows.`,
    { retryAfterSeconds: 1 },
  );
}

const wordsOf: Record<WorkerOperation, string> = {
  open: 'opening the lake',
  ingestDataset: 'the upload',
  describeDataset: 'the dataset’s statistics',
  exportDataset: 'the export',
  fileColumns: 'reading the file',
  toCells: 'reading the rows',
  drain: 'the drain',
  buildTrainingSet: 'building the training set',
  exportParquet: 'the export',
  verifyLake: 'the check of all files',
  close: 'closing',
};

/** `2GB` → bytes; DuckDB's own units. */
function bytesOf(limit: string): number {
  const match = /^(\d+(?:\.\d+)?) ?([KMGT])i?B$/i.exec(limit);
  const power = { K: 1, M: 2, G: 3, T: 4 }[match?.[2]?.toUpperCase() ?? 'G'] ?? 3;
  return Number(match?.[1] ?? 2) * 1_024 ** power;
}
