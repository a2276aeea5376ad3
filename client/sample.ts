import { spawn } from 'node:child_process';
import { access, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { JobInfo, OnlineAnswer, TrainingSetInfo } from '../contract/api';
import { LoftError } from '../contract/errors';
import { followJob } from './followJob';
import type { GatewayClient } from './gatewayClient';
import { publishFiles, uploadOnce, type Published } from './publishFiles';
import { UploadMemory } from './uploadMemory';

const HOUR_MS = 3_600_000;
const SHIFT_TIMEOUT_MS = 300_000;

/** `sample.json` beside the sample's files: what to do with them. */
const Manifest = z.object({
  definitions: z.string(),
  /** The newest event time in the files; a shift brings it to the current hour. */
  newest: z.iso.datetime(),
  files: z.array(z.object({ file: z.string(), dataset: z.string(), view: z.string().optional() })),
  /** The script that moves the times. */
  shift: z.string(),
  search: z.string(),
  onlineRead: z.object({
    service: z.string(),
    entities: z.record(z.string(), z.array(z.string())),
    show: z.string(),
  }),
  trainingSet: z.object({
    name: z.string(),
    spine: z.string(),
    eventTimestamp: z.string(),
    labels: z.array(z.string()),
    service: z.string(),
  }),
  train: z.object({ label: z.string(), testFraction: z.number() }),
});
type Manifest = z.infer<typeof Manifest>;

/** `sample.json` of the data folder: by how much this store's sample was moved, once and for all. */
const Shift = z.object({ hours: z.int(), newest: z.string(), decidedAt: z.string() });
type Shift = z.infer<typeof Shift>;

export interface SampleOptions {
  client: GatewayClient;
  /** The data folder. */
  dataDir: string;
  /** The folder of the sample's files and its `sample.json`. */
  sampleDir: string;
  /** Python with pyarrow, for moving the sample's times. */
  python: string;
  /** Of a step that takes a while; overwritten by the next. */
  onProgress?: (text: string) => void;
}

/** One thing that was done or found done, in one line, with the numbers that the gateway gave. */
export interface SampleStep {
  step: 'shift' | 'publish' | 'load' | 'search' | 'online' | 'trainingSet' | 'train';
  /** Nothing had to be done. */
  already: boolean;
  line: string;
  facts: Record<string, unknown>;
}

/**
 * The whole path with real data, step by step: moves the sample's times, publishes, loads, searches, reads online, builds a training set
 * and trains on it. Each step first looks for what it would make, so a second run does nothing twice, and a run that was
 * ended anywhere is completed by the next.
 */
export async function* runSample(options: SampleOptions): AsyncGenerator<SampleStep, void> {
  const { client, dataDir, sampleDir } = options;
  const progress = options.onProgress ?? (() => undefined);
  const manifest = Manifest.parse(JSON.parse(await readFile(join(sampleDir, 'sample.json'), 'utf8')));
  const memory = new UploadMemory(join(dataDir, 'uploads.json'));

  const shifted = join(dataDir, 'sample');
  const { shift, already } = await decideShift(dataDir, manifest);
  const moved = await moveTimes(options, manifest, shift, shifted, progress);
  yield {
    step: 'shift',
    already: already && !moved,
    line: `sample: New York flights of 2013, all times moved by ${count(shift.hours)} hours, so that the newest is ${shift.newest}`,
    facts: { ...shift },
  };

  progress('publishing and loading …');
  const published = await publishFiles(client, [join(sampleDir, manifest.definitions)], {
    memory,
    load: true,
    sourceFolder: shifted,
    datasets: Object.fromEntries(manifest.files.flatMap(({ view, dataset }) => (view ? [[view, dataset]] : []))),
    onProgress: ({ step, ...rest }) => {
      if (step !== 'publish' && 'view' in rest) progress(`${step === 'upload' ? 'uploaded' : 'loaded'} ${rest.view}`);
    },
  });
  yield await describePublished(client, published);
  yield await describeLoads(client, published);

  yield await searchStep(client, manifest);
  yield await onlineStep(client, manifest);

  progress('building the training set …');
  const { set, step } = await trainingSetStep(client, manifest, shifted, memory);
  yield step;
  yield await trainStep(client, manifest, set, progress);
}

/** Decided once and kept before anything is loaded: two shifts in one store would be two samples. */
async function decideShift(dataDir: string, manifest: Manifest): Promise<{ shift: Shift; already: boolean }> {
  const file = join(dataDir, 'sample.json');
  try {
    return { shift: Shift.parse(JSON.parse(await readFile(file, 'utf8'))), already: true };
  } catch {
    // None yet, or one that was never whole: nothing was loaded with it.
  }
  const newest = Math.floor(Date.now() / HOUR_MS);
  const shift: Shift = {
    hours: newest - Math.floor(Date.parse(manifest.newest) / HOUR_MS),
    newest: new Date(newest * HOUR_MS).toISOString().replace('.000Z', 'Z'),
    decidedAt: new Date().toISOString(),
  };
  const part = `${file}.${process.pid}`;
  await writeFile(part, JSON.stringify(shift) + '\n', { mode: 0o600 });
  await rename(part, file);
  return { shift, already: false };
}

/** Writes the moved files, unless they are there. Answers whether they had to be made. */
async function moveTimes(
  { python, sampleDir }: SampleOptions,
  manifest: Manifest,
  shift: Shift,
  shifted: string,
  progress: (text: string) => void,
): Promise<boolean> {
  const stamp = join(shifted, 'hours');
  const wanted = String(shift.hours);
  const there = await readFile(stamp, 'utf8').catch(() => undefined);
  if (there === wanted && (await allThere(manifest.files.map(({ file }) => join(shifted, file))))) return false;
  progress('moving the sample’s times …');
  await rm(shifted, { recursive: true, force: true });
  await mkdir(shifted, { recursive: true, mode: 0o700 });
  await runPython(python, [
    join(sampleDir, manifest.shift),
    ...['--hours', wanted, '--out', shifted, '--sample', sampleDir],
  ]);
  await writeFile(stamp, wanted);
  return true;
}

async function allThere(files: readonly string[]): Promise<boolean> {
  const found = await Promise.all(
    files.map((file) =>
      access(file).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.every(Boolean);
}

function runPython(python: string, args: readonly string[]): Promise<void> {
  return new Promise((done, failed) => {
    const child = spawn(python, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: SHIFT_TIMEOUT_MS });
    let errors = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-4_000);
    });
    child.once('error', (error) => {
      failed(
        new LoftError(
          500,
          'no_python',
          `Python could not be started as ${python} (${error.message}). Name one with --python.`,
        ),
      );
    });
    child.once('close', (code) => {
      if (code === 0) {
        done();
        return;
      }
      const missing = /No module named '?([\w.]+)'?/.exec(errors)?.[1];
      const reason =
        missing === undefined
          ? (errors.trim().split('\n').at(-1) ?? `it ended with code ${code}`)
          : `${python} lacks ${missing}. Install it with: ${python} -m pip install ${missing}`;
      failed(new LoftError(500, 'sample_not_moved', `The sample’s times could not be moved: ${reason}`));
    });
  });
}

async function describePublished(client: GatewayClient, published: Published): Promise<SampleStep> {
  const views = [];
  const services: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await client.call('registry', {
      query: { limit: 1_000, ...(cursor === undefined ? {} : { cursor }) },
    });
    for (const item of page.items) {
      if (item.kind === 'view' && item.view.current) views.push(item.view);
      if (item.kind === 'service') services.push(item.name);
    }
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  const features = views.reduce((total, view) => total + view.features.length, 0);
  const already = published.changes.length === 0;
  const what = `${count(features)} features in ${views.length} views${services.length > 0 ? `, service ${services.join(', ')}` : ''}`;
  return {
    step: 'publish',
    already,
    line: already
      ? `published: already there, ${what} (registry version ${published.registryVersion})`
      : `published: ${what}, registry version ${published.registryVersion}`,
    facts: {
      registryVersion: published.registryVersion,
      features,
      views: views.length,
      changes: published.changes.length,
    },
  };
}

async function describeLoads(client: GatewayClient, published: Published): Promise<SampleStep> {
  const parts: string[] = [];
  const facts: Record<string, unknown> = {};
  for (const { view, already, answer } of published.loads) {
    if (answer && !already) {
      parts.push(`${view} ${count(answer.written)} of ${count(answer.written + answer.superseded)} rows`);
      facts[view] = { written: answer.written, superseded: answer.superseded, rejected: answer.rejected };
    } else {
      const { state } = await client.call('view', { params: { view } });
      parts.push(`${view} ${count(state.rows)} rows`);
      facts[view] = { rows: state.rows, newestEvent: state.newestEvent };
    }
  }
  const already = published.loads.every((load) => load.already);
  return {
    step: 'load',
    already,
    line: already
      ? `loaded: already there, ${parts.join(', ')}`
      : `written online, the newest row of each key: ${parts.join(', ')}; all go to history`,
    facts,
  };
}

async function searchStep(client: GatewayClient, { search }: Manifest): Promise<SampleStep> {
  const answer = await client.call('search', { query: { q: search, limit: 20 } });
  const shown = answer.hits.slice(0, 3).map((hit) => hit.ref);
  const found = `search "${search}": ${count(answer.total)} features in ${answer.tookMs.toFixed(1)} ms`;
  return {
    step: 'search',
    already: false,
    line: shown.length > 0 ? `${found}, first ${shown.join(', ')}` : found,
    facts: { query: search, total: answer.total, hits: answer.hits.map((hit) => hit.ref) },
  };
}

/**
 * Shows the value that the manifest names. A store whose sample was loaded hours ago has no current weather any more; then the
 * line says so, and shows one that still holds.
 */
async function onlineStep(client: GatewayClient, { onlineRead }: Manifest): Promise<SampleStep> {
  const { service, entities, show } = onlineRead;
  const answer = await client.call('onlineGet', { body: { service, entities, fullNames: true } });
  const wanted = show.replace(/(?:@v\d+)?:/, '__');
  const first = presentValue(answer, wanted);
  const found = first ?? firstPresent(answer);
  const aged = Object.values(answer.columns)
    .flatMap((column) => column.statuses)
    .filter((one) => one === 'OUTSIDE_MAX_AGE');
  const stale =
    first === undefined && aged.length > 0 ? ` (${show} is past its ttl: the sample was loaded a while ago)` : '';
  if (!found) {
    return {
      step: 'online',
      already: false,
      line: `online read of ${service}: no present value${stale}`,
      facts: { present: false },
    };
  }
  const entity = Object.entries(entities)
    .map(([key, values]) => `${key}=${values[found.at]}`)
    .join(', ');
  return {
    step: 'online',
    already: false,
    line: `online read: ${found.column.replace('__', ':')} of ${entity} is ${String(found.value)} (PRESENT, from ${found.eventTimestamp})${stale}`,
    facts: { present: true, ...found, asOf: answer.asOf },
  };
}

interface Present {
  column: string;
  at: number;
  value: unknown;
  eventTimestamp: string | null;
}

function presentValue(answer: OnlineAnswer, name: string): Present | undefined {
  const column = answer.columns[name];
  const at = column?.statuses.indexOf('PRESENT') ?? -1;
  if (!column || at < 0) return undefined;
  return { column: name, at, value: column.values[at], eventTimestamp: column.eventTimestamps[at] ?? null };
}

function firstPresent(answer: OnlineAnswer): Present | undefined {
  for (const name of Object.keys(answer.columns)) {
    const found = presentValue(answer, name);
    if (found) return found;
  }
  return undefined;
}

async function trainingSetStep(
  client: GatewayClient,
  { trainingSet, files }: Manifest,
  shifted: string,
  memory: UploadMemory,
): Promise<{ set: TrainingSetInfo; step: SampleStep }> {
  const { name, spine, ...request } = trainingSet;
  const known = await client.call('trainingSet', { params: { name } }).catch((error: unknown) => {
    if (error instanceof LoftError && error.status === 404) return undefined;
    throw error;
  });
  let set = known;
  if (!set) {
    const file = files.find(({ dataset }) => dataset === spine)?.file;
    if (file === undefined)
      throw new LoftError(500, 'bad_sample', `sample.json names no file for the dataset ${spine}.`);
    const { dataset } = await uploadOnce(client, spine, join(shifted, file), memory);
    const made = await client.call('createTrainingSet', {
      body: { name, spine: { dataset: spine, version: dataset.version }, ...request },
    });
    if ('dryRun' in made)
      throw new LoftError(500, 'bad_answer', 'The gateway answered a plan instead of a training set.');
    set = made;
  }
  return {
    set,
    step: {
      step: 'trainingSet',
      already: known !== undefined,
      line: `training set${known ? ': already there,' : ''} ${set.name} v${set.version}: ${count(set.rows)} rows, ${set.columns.length} columns, id ${set.id}`,
      facts: { name: set.name, version: set.version, id: set.id, rows: set.rows, columns: set.columns.length },
    },
  };
}

async function trainStep(
  client: GatewayClient,
  { train }: Manifest,
  set: TrainingSetInfo,
  progress: (text: string) => void,
): Promise<SampleStep> {
  const known = await findTrained(client, set);
  let job = known;
  if (!job) {
    const started = await client.call('startJob', {
      body: { kind: 'training', trainingSet: set.name, version: set.version, ...train },
    });
    job = await followJob(client, started, {
      onProgress: (now) => progress(`training: ${Math.round(now.progress * 100)} %, ${now.message}`),
    });
  }
  if (job.state !== 'succeeded') {
    throw new LoftError(500, 'training_failed', `The training job ${job.id} ${job.state}: ${job.error ?? job.message}`);
  }
  const { metric, score, baseline, trainRows, testRows } = job.metrics ?? {};
  const model = job.files.find(({ file }) => file.endsWith('.joblib'));
  return {
    step: 'train',
    already: known !== undefined,
    line: `model${known ? ': already there,' : ''} trained on ${count(trainRows)} rows: ${String(metric)} ${decimals(score)} on ${count(testRows)} newer rows, baseline ${decimals(baseline)}${model ? `, ${model.file}` : ''}`,
    facts: { job: job.id, trainingSetId: job.trainingSet?.id, ...job.metrics, files: job.files },
  };
}

async function findTrained(client: GatewayClient, set: TrainingSetInfo): Promise<JobInfo | undefined> {
  let cursor: string | undefined;
  do {
    const page = await client.call('jobs', { query: { limit: 200, ...(cursor === undefined ? {} : { cursor }) } });
    const found = page.items.find((job) => job.state === 'succeeded' && job.trainingSet?.id === set.id);
    if (found) return found;
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return undefined;
}

function count(value: unknown): string {
  return typeof value === 'number' ? value.toLocaleString('en-US') : String(value);
}

function decimals(value: unknown): string {
  return typeof value === 'number' ? value.toFixed(3) : String(value);
}
