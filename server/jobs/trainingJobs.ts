import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import type { JobInfo, StoredFile, TrainingJobRequest } from '../../contract/api';
import { LoftError } from '../../contract/errors';
import { own, parseJson, type JsonObject } from '../../contract/json';
import type { JobTokens } from '../http/jobTokens';
import type { Log } from '../log';
import { hashFile } from '../offline/hashFile';
import type { OfflineStore } from '../offline/offlineStore';
import type { PageOf, PageRequest } from '../offline/page';
import { JobFeed } from './jobFeed';
import type { JobStore } from './jobStore';
import { endLeftover, TrainingProcess, type TrainingEnd } from './trainingProcess';

/** How often a running job's progress reaches the database; its feed has every line. */
const STORE_EVERY_MS = 500;
const MAX_QUEUED = 100;
/** What the trainer leaves in its folder besides the log. */
const RESULT_FILES = /^(?:metrics\.json|model\..+)$/;

export type TrainingRequest = z.output<typeof TrainingJobRequest>;

interface Running {
  readonly id: string;
  /** Not yet while its folder is made. */
  process: TrainingProcess | undefined;
  /** To be ended, also when its process is yet to come. */
  ending: boolean;
  /** By its owner; otherwise because the gateway stops. */
  cancelled: boolean;
  done: Promise<void>;
}

export interface TrainingJobsOptions {
  store: JobStore;
  offline: OfflineStore;
  tokens: JobTokens;
  /** The folder `jobs/` of the data folder. */
  jobsDir: string;
  python: string;
  /** Where the trainer reaches this gateway. */
  url: () => string;
  log: Log;
}

/**
 * Training runs: one at a time, the others wait in line, because a machine that trains two models at once serves neither well.
 * Each is a process of its own (trainingProcess.ts); its state is stored, so that it can be asked for after a restart.
 */
export class TrainingJobs {
  private readonly jobs = new Map<string, JobInfo>();
  private readonly feeds = new Map<string, JobFeed>();
  private readonly waiting: string[] = [];
  private running: Running | undefined;
  private stopped = false;

  constructor(private readonly options: TrainingJobsOptions) {}

  /** What an earlier process left unfinished has failed: nobody listens to it any more. */
  async recover(): Promise<void> {
    for (const job of await this.options.store.unfinished()) {
      await endLeftover(join(this.options.jobsDir, job.id));
      const error =
        job.state === 'queued'
          ? 'The gateway ended before the job was started. Start it again.'
          : 'The gateway ended while the job ran, and the job with it. Start it again.';
      await this.options.store.update({ ...job, state: 'failed', message: error, error, endedAt: now() });
    }
  }

  /** Throws LoftError 404 for an unknown training set, 503 `too_many_jobs`. */
  async start(request: TrainingRequest): Promise<JobInfo> {
    this.refuseWhenStopped();
    if (this.waiting.length >= MAX_QUEUED) {
      throw new LoftError(
        503,
        'too_many_jobs',
        `${MAX_QUEUED} training jobs wait already. Try again when some are done.`,
        {
          retryAfterSeconds: 60,
        },
      );
    }
    const set = await this.options.offline.trainingSet(request.trainingSet, request.version);
    const job: JobInfo = {
      id: randomUUID(),
      kind: 'training',
      state: 'queued',
      progress: 0,
      message: this.running ? 'Waiting for another training job to end' : 'Starting',
      request,
      trainingSet: { name: set.name, version: set.version, id: set.id },
      files: [],
      createdAt: now(),
    };
    await this.options.store.insert(job);
    this.refuseWhenStopped();
    this.jobs.set(job.id, job);
    this.feeds.set(job.id, new JobFeed(job));
    this.waiting.push(job.id);
    this.next();
    return job;
  }

  async get(id: string): Promise<JobInfo> {
    return this.jobs.get(id) ?? (await this.options.store.get(id));
  }

  async list(page: PageRequest): Promise<PageOf<JobInfo>> {
    const stored = await this.options.store.list(page);
    return { ...stored, items: stored.items.map((job) => this.jobs.get(job.id) ?? job) };
  }

  /** What happens to a job from now on; of a job that is over, its end. */
  async feed(id: string): Promise<JobFeed> {
    const live = this.feeds.get(id);
    if (live) return live;
    const feed = new JobFeed(await this.options.store.get(id));
    feed.close();
    return feed;
  }

  /** Ends a job that waits or runs, and answers it as it then is. Cancelling one that is over changes nothing. */
  async cancel(id: string): Promise<JobInfo> {
    const place = this.waiting.indexOf(id);
    if (place >= 0) {
      this.waiting.splice(place, 1);
      await this.finish(id, { state: 'cancelled', message: 'Cancelled before it was started' });
    } else if (this.running?.id === id) {
      this.running.cancelled = true;
      await end(this.running);
    }
    return this.get(id);
  }

  /** Ends what runs and forgets what waits: both are told as failed, with the reason. */
  async stop(): Promise<void> {
    this.stopped = true;
    const error = 'The gateway was stopped. Start the job again.';
    for (const id of this.waiting.splice(0)) await this.finish(id, { state: 'failed', message: error, error });
    if (this.running) await end(this.running);
  }

  private refuseWhenStopped(): void {
    if (this.stopped) throw new LoftError(503, 'stopping', 'The gateway is stopping; no job is started any more.');
  }

  private next(): void {
    if (this.running || this.stopped) return;
    const id = this.waiting.shift();
    if (id === undefined) return;
    const running: Running = { id, process: undefined, ending: false, cancelled: false, done: Promise.resolve() };
    this.running = running;
    running.done = this.run(running).finally(() => {
      this.running = undefined;
      this.next();
    });
  }

  /** Never fails: what goes wrong is the job's end. */
  private async run(running: Running): Promise<void> {
    const { id } = running;
    const job = this.jobs.get(id);
    const set = job?.trainingSet;
    if (!job || !set) return;
    const { tokens, jobsDir, log } = this.options;
    const { token, revoke } = tokens.issue(readsOnly);
    try {
      const jobDir = join(jobsDir, id);
      await mkdir(jobDir, { recursive: true, mode: 0o700 });
      const request = job.request as TrainingRequest;
      running.process = new TrainingProcess({
        python: this.options.python,
        jobDir,
        url: this.options.url(),
        token,
        trainingSet: set.name,
        version: set.version,
        label: request.label,
        testFraction: request.testFraction,
        onLine: (line) => this.hear(id, line),
      });
      if (running.ending) running.process.cancel();
      const { ended } = running.process;
      await this.change(id, { state: 'running', message: 'Training has started' });
      await this.conclude(id, jobDir, running, await ended);
    } catch (error) {
      log.error('job failed', error, { job: id });
      running.process?.cancel();
      await running.process?.ended;
      await this.finish(id, failed('The job could not be run; the gateway’s log says why.'));
    } finally {
      revoke();
    }
  }

  private async conclude(id: string, jobDir: string, running: Running, end: TrainingEnd): Promise<void> {
    if (running.cancelled) {
      await this.finish(id, { state: 'cancelled', message: 'Cancelled' });
      return;
    }
    if (end.code === 0) {
      const files = await resultFiles(jobDir, id);
      const metrics = await readMetrics(jobDir);
      if (metrics && files.some(({ file }) => /\/model\./.test(file))) {
        await this.finish(id, { state: 'succeeded', progress: 1, message: 'Trained', metrics, files });
        return;
      }
      await this.finish(id, failed('The trainer ended without metrics and a model.'));
      return;
    }
    await this.finish(id, failed(this.stopped ? 'The gateway was stopped while the job ran.' : this.reason(end)));
  }

  private reason(end: TrainingEnd): string {
    const { python } = this.options;
    if (end.failure !== undefined) {
      return `Python could not be started as ${python} (${end.failure}). Name one with --python or FEATURELOFT_PYTHON.`;
    }
    const missing = end.errors.map((line) => /No module named '?([\w.]+)'?/.exec(line)?.[1]).find(Boolean);
    if (missing !== undefined) {
      return `${python} lacks the package ${missing}. Install it with: ${python} -m pip install "featureloft[train]"`;
    }
    const last = end.errors.filter((line) => line.trim() !== '').at(-1);
    const how = end.signal ? `was ended by ${end.signal}` : `ended with code ${end.code}`;
    return last === undefined ? `The trainer ${how} and said nothing.` : `The trainer ${how}: ${last.slice(0, 1_000)}`;
  }

  /** A line of JSON reports progress; any other is for the log. */
  private hear(id: string, line: string): void {
    const progress = readProgress(line);
    if (!progress) {
      this.feeds.get(id)?.log(line);
      return;
    }
    const job = this.jobs.get(id);
    if (!job) return;
    const changed = { ...job, ...progress };
    this.jobs.set(id, changed);
    this.feeds.get(id)?.state(changed);
    this.storeSoon(id);
  }

  private readonly storeTimers = new Map<string, NodeJS.Timeout>();

  private storeSoon(id: string): void {
    if (this.storeTimers.has(id)) return;
    this.storeTimers.set(
      id,
      setTimeout(() => {
        this.storeTimers.delete(id);
        const job = this.jobs.get(id);
        // Progress that can't be stored is only late: the next report or the end brings it.
        if (job?.state === 'running') this.options.store.update(job).catch(() => undefined);
      }, STORE_EVERY_MS),
    );
  }

  private async change(id: string, part: Partial<JobInfo>): Promise<void> {
    const job = this.jobs.get(id);
    if (!job) return;
    const changed = { ...job, ...part };
    this.jobs.set(id, changed);
    this.feeds.get(id)?.state(changed);
    await this.options.store.update(changed);
  }

  private async finish(id: string, part: Partial<JobInfo>): Promise<void> {
    clearTimeout(this.storeTimers.get(id));
    this.storeTimers.delete(id);
    try {
      await this.change(id, { ...part, endedAt: now() });
      // From now on the store answers for it. One that could not be stored stays in memory, and is failed at the next start.
      this.jobs.delete(id);
    } catch (error) {
      this.options.log.error('job not stored', error, { job: id });
    } finally {
      this.feeds.get(id)?.close();
      this.feeds.delete(id);
    }
  }
}

function end(running: Running): Promise<void> {
  running.ending = true;
  running.process?.cancel();
  return running.done;
}

function failed(error: string): Partial<JobInfo> {
  return { state: 'failed', message: error, error };
}

/** A training job reads its training set, and may look at the data behind it; nothing else is its business. */
function readsOnly(method: string, path: string): boolean {
  return method === 'GET' && /^\/v1\/(?:training-sets|datasets)(?:\/|$)/.test(path);
}

function now(): string {
  return new Date().toISOString().replace(/\.000Z$/, 'Z');
}

function readProgress(line: string): Partial<JobInfo> | undefined {
  const value = readObject(line);
  if (!value) return undefined;
  const progress = own(value, 'progress');
  const message = own(value, 'message');
  if (typeof progress !== 'number' && typeof message !== 'string') return undefined;
  return {
    ...(typeof progress === 'number' ? { progress: Math.min(1, Math.max(0, progress)) } : {}),
    ...(typeof message === 'string' ? { message: message.slice(0, 500) } : {}),
  };
}

function readObject(text: string): JsonObject | undefined {
  if (!text.trimStart().startsWith('{')) return undefined;
  try {
    return parseJson(text) as JsonObject;
  } catch {
    return undefined;
  }
}

async function readMetrics(jobDir: string): Promise<Record<string, unknown> | undefined> {
  try {
    return readObject(await readFile(join(jobDir, 'metrics.json'), 'utf8'));
  } catch {
    return undefined;
  }
}

async function resultFiles(jobDir: string, id: string): Promise<StoredFile[]> {
  const names = (await readdir(jobDir)).filter((name) => RESULT_FILES.test(name)).sort();
  return Promise.all(
    names.map(async (name) => ({ file: `jobs/${id}/${name}`, ...(await hashFile(join(jobDir, name))) })),
  );
}
