import { extname } from 'node:path';
import type { Change, DatasetVersion, PlanAnswer, WriteAnswer } from '../contract/api';
import { LoftError } from '../contract/errors';
import { canonicalJson } from '../contract/canonical';
import { readDefinitionFiles, type SourceFile, type WrittenDefinitions } from './definitionFiles';
import { dataTypes, type GatewayClient } from './gatewayClient';
import { hashFile, type UploadMemory } from './uploadMemory';

export interface PublishOptions {
  memory: UploadMemory;
  /** Whether the uploaded files are also loaded into their views. */
  load: boolean;
  onProgress?: (progress: PublishProgress) => void;
  /** Publish only what this plan says; needed for a breaking change or a removal. */
  planHash?: string;
  remove?: string[];
  force?: boolean;
  /** Where source files are, if not beside their definitions. */
  sourceFolder?: string;
  /** View → the dataset that its file becomes; by default the view's own name. */
  datasets?: Readonly<Record<string, string>>;
}

export type PublishProgress =
  | { step: 'upload'; view: string; dataset: string; version: number; rows: number; already: boolean }
  | { step: 'publish'; registryVersion: number; changes: Change[] }
  | ({ step: 'load'; view: string; already: boolean; rows: number } & Partial<WriteAnswer>);

export interface Published {
  registryVersion: number;
  changes: Change[];
  uploads: { view: string; dataset: DatasetVersion; already: boolean }[];
  loads: { view: string; already: boolean; answer: WriteAnswer | undefined }[];
}

/** The definitions as they are published: files have become datasets, uploaded or not. */
export async function planFiles(
  client: GatewayClient,
  paths: readonly string[],
  options: Pick<PublishOptions, 'remove' | 'sourceFolder' | 'datasets'> = {},
): Promise<PlanAnswer> {
  const { definitions, sources } = await readDefinitionFiles(paths, options.sourceFolder);
  return plan(client, withDatasets(definitions, sources, options.datasets ?? {}), options);
}

/**
 * The one way from files to a working view: uploads each `source.file` as a dataset (unless its newest version is that file),
 * publishes the definitions with the hash of their plan, then loads the datasets. Each step can be repeated, so a run
 * that was killed is mended by another.
 */
export async function publishFiles(
  client: GatewayClient,
  paths: readonly string[],
  options: PublishOptions,
): Promise<Published> {
  const { definitions: written, sources } = await readDefinitionFiles(paths, options.sourceFolder);
  const definitions = withDatasets(written, sources, options.datasets ?? {});
  const tell = options.onProgress ?? (() => undefined);

  // A plan first: what is wrong with the definitions is known before anything is uploaded.
  const planned = await plan(client, definitions, options);
  const uploads: Published['uploads'] = [];
  for (const source of sources) {
    const name = datasetOf(source.view, options.datasets ?? {});
    const { dataset, already } = await uploadOnce(client, name, source.path, options.memory);
    uploads.push({ view: source.view, dataset, already });
    tell({ step: 'upload', view: source.view, dataset: name, version: dataset.version, rows: dataset.rows, already });
  }
  const published = await publish(client, definitions, planned, options);
  tell({ step: 'publish', ...published });

  const loads: Published['loads'] = [];
  if (options.load) {
    for (const { view, dataset } of uploads) {
      const load = await loadOnce(client, view, dataset, options.memory);
      loads.push(load);
      tell({ step: 'load', view, already: load.already, rows: dataset.rows, ...load.answer });
    }
  }
  return { ...published, uploads, loads };
}

/** Uploads a file as a dataset's next version, unless its newest version was made of the same bytes. */
export async function uploadOnce(
  client: GatewayClient,
  name: string,
  path: string,
  memory: UploadMemory,
): Promise<{ dataset: DatasetVersion; already: boolean }> {
  const type = typeOfFile(path);
  const fileSha256 = await hashFile(path);
  const known = await memory.upload(name);
  if (known?.fileSha256 === fileSha256) {
    const newest = await findDataset(client, name);
    if (newest && newest.version === known.version && newest.sha256 === known.sha256)
      return { dataset: newest, already: true };
  }
  const dataset = await client.call('uploadDataset', { params: { name }, rows: { file: path, type } });
  await memory.rememberUpload(name, { fileSha256, version: dataset.version, sha256: dataset.sha256 });
  return { dataset, already: false };
}

/** From the list: describing one would also compute its statistics. */
async function findDataset(client: GatewayClient, name: string): Promise<DatasetVersion | undefined> {
  let cursor: string | undefined;
  do {
    const page = await client.call('datasets', {
      query: { limit: 1_000, ...(cursor === undefined ? {} : { cursor }) },
    });
    const found = page.items.find((dataset) => dataset.name === name);
    if (found) return found;
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return undefined;
}

/**
 * Loads a dataset version into a view unless that was done. The idempotency key names both, so that a load whose answer was
 * lost is not done twice.
 */
async function loadOnce(
  client: GatewayClient,
  view: string,
  dataset: DatasetVersion,
  memory: UploadMemory,
): Promise<Published['loads'][number]> {
  const info = await client.call('view', { params: { view } });
  const target = `${info.name}@v${info.version}`;
  const known = await memory.load(target);
  const { name, version, sha256 } = dataset;
  if (known?.dataset === name && known.version === version && known.sha256 === sha256 && info.state.rows > 0)
    return { view, already: true, answer: undefined };
  const answer = await client.call('writeRows', {
    params: { view: target },
    rows: { json: { dataset: name, version } },
    headers: { 'idempotency-key': `load/${target}/${name}/${version}/${sha256}` },
  });
  await memory.rememberLoad(target, { dataset: name, version, sha256 });
  return { view, already: false, answer };
}

function datasetOf(view: string, datasets: Readonly<Record<string, string>>): string {
  // A view may be called `constructor`.
  return Object.hasOwn(datasets, view) ? (datasets[view] ?? view) : view;
}

function withDatasets(
  definitions: WrittenDefinitions,
  sources: readonly SourceFile[],
  datasets: Readonly<Record<string, string>>,
): WrittenDefinitions {
  const fromFiles = new Set(sources.map(({ view }) => view));
  const views = definitions.views.map((view) => {
    const { name, source } = view as { name: string; source?: { file?: string } };
    if (!fromFiles.has(name) || source === undefined) return view;
    const { file: _uploaded, ...rest } = source;
    return { ...(view as object), source: { dataset: datasetOf(name, datasets), ...rest } };
  });
  return { ...definitions, views };
}

type ChangeOptions = Pick<PublishOptions, 'remove'>;

function requestOf(definitions: WrittenDefinitions, { remove }: ChangeOptions) {
  return {
    // The gateway parses it, and its words are the ones to show.
    definitions: definitions as never,
    ...(remove === undefined ? {} : { remove }),
  };
}

function plan(client: GatewayClient, definitions: WrittenDefinitions, options: ChangeOptions): Promise<PlanAnswer> {
  return client.call('plan', { body: requestOf(definitions, options) });
}

async function publish(
  client: GatewayClient,
  definitions: WrittenDefinitions,
  planned: PlanAnswer,
  options: PublishOptions,
): Promise<{ registryVersion: number; changes: Change[] }> {
  if (planned.changes.length === 0) return { registryVersion: planned.registryVersion, changes: [] };
  const send = (planHash: string | undefined) =>
    client.call('publish', {
      body: {
        ...requestOf(definitions, options),
        ...(planHash === undefined ? {} : { planHash }),
        ...(options.force === undefined ? {} : { force: options.force }),
      },
    });
  // Nobody has looked at this plan: only what can be published without one goes through with it.
  const harmless = planned.changes.every((change) => change.class !== 'breaking' && change.action !== 'remove');
  try {
    return await send(options.planHash ?? (harmless ? planned.planHash : undefined));
  } catch (error) {
    if (!(error instanceof LoftError) || error.status !== 409 || options.planHash !== undefined || !harmless)
      throw error;
    // Somebody else published meanwhile. What we change may be untouched by it; then it is tried once more.
    const again = await plan(client, definitions, options);
    if (canonicalJson(again.changes) !== canonicalJson(planned.changes)) throw error;
    return send(again.planHash);
  }
}

const typesByExtension: Record<string, string> = {
  '.csv': dataTypes.csv,
  '.parquet': dataTypes.parquet,
  '.ndjson': dataTypes.ndjson,
  '.jsonl': dataTypes.ndjson,
};

/** The media type of a file of rows, by its name. Throws LoftError 415. */
export function typeOfFile(path: string): string {
  const extension = extname(path).toLowerCase();
  const type = typesByExtension[extension];
  if (type !== undefined) return type;
  throw new LoftError(
    415,
    'unknown_format',
    `${path}: found ${extension === '' ? 'no extension' : extension}, expected ${Object.keys(typesByExtension).join(', ')}.`,
  );
}
