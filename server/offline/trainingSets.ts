import { createHash, randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import type { Column, TrainingSetInfo, TrainingSetPlan, TrainingSetRequest } from '../../contract/api';
import { canonicalJson } from '../../contract/canonical';
import { LoftError, type Problem } from '../../contract/errors';
import type { JsonObject } from '../../contract/json';
import { nameProblem } from '../../contract/names';
import { formatFeatureRef, formatViewRef } from '../../contract/references';
import { formatValueType } from '../../contract/valueTypes';
import { placeFile } from '../atomicFile';
import type { Db } from '../postgres/connect';
import type { RegistryCache } from '../registry/cache';
import { didYouMean } from '../registry/nearNames';
import { resolveFeatures, type ResolvedFeature } from '../registry/resolve';
import type { ViewVersion } from '../registry/snapshot';
import { findDataset, refOf } from './datasets';
import type { BuiltTrainingSet, Spine, TrainingSetBuild } from './protocol';
import { spineColumns, writeSpine } from './spineRows';
import { nextVersion, recordTrainingSet, standingTrainingSet, type SpineOrigin } from './trainingSetRecords';

export interface TrainingSetContext {
  db: Db;
  registry: RegistryCache;
  tmpDir: string;
  trainingDir: string;
  engine: string;
  build(request: TrainingSetBuild): Promise<BuiltTrainingSet>;
  /** Waits until what was written before the request is in history. */
  drainAnswered(): Promise<void>;
  /** Runs one work at a time, so that versions are numbered without gaps. */
  inOrder<Result>(work: () => Promise<Result>): Promise<Result>;
}

/** What is asked for, with everything found and checked. */
interface Prepared {
  request: TrainingSetRequest;
  features: ResolvedFeature[];
  views: ViewVersion[];
  spine: { columns: Column[]; rows: number; origin: SpineOrigin | undefined };
  /** Types that the spine's columns take. */
  spineTypes: Column[];
}

/**
 * Builds a training set, or says what it would be (`dryRun`). Throws LoftError 422 `bad_name`, `bad_spine`, `column_clash` and what
 * resolving features and datasets throws; 503 `outbox_behind`.
 */
export async function createTrainingSet(
  context: TrainingSetContext,
  request: TrainingSetRequest,
): Promise<TrainingSetInfo | z.infer<typeof TrainingSetPlan>> {
  const prepared = await prepare(context, request);
  if (request.dryRun) return planOf(prepared);
  await context.drainAnswered();
  return build(context, prepared);
}

async function prepare(context: TrainingSetContext, request: TrainingSetRequest): Promise<Prepared> {
  const expected = nameProblem(request.name, 'trainingSet');
  if (expected !== undefined) throw new LoftError(422, 'bad_name', expected);
  const features = resolveFeatures(await context.registry.reload(), request);
  const views = [...new Set(features.map((feature) => feature.view))];
  const typed = keyTypes(views, request.eventTimestamp);
  const spine = await findSpine(context, request, typed);
  checkSpine(request, views, spine.columns);
  checkClashes(features, spine.columns);
  const spineTypes = spine.columns.map(({ name, type }) => ({ name, type: typed.get(name) ?? type }));
  return { request, features, views, spine, spineTypes };
}

/** The types of the spine's keys and time. Two entities may call columns of different types alike: then one spine can't serve both. */
function keyTypes(views: readonly ViewVersion[], eventTimestamp: string): Map<string, string> {
  const types = new Map([[eventTimestamp, 'timestamp']]);
  for (const view of views) {
    for (const key of view.keys) {
      const type = formatValueType(key.type);
      const other = types.get(key.name);
      if (other !== undefined && other !== type) {
        throw new LoftError(
          422,
          'key_type_conflict',
          `${key.name} is ${type} in view ${view.name} and ${other} elsewhere in this request: build two training sets.`,
        );
      }
      types.set(key.name, type);
    }
  }
  return types;
}

async function findSpine(
  context: TrainingSetContext,
  request: TrainingSetRequest,
  typed: ReadonlyMap<string, string>,
): Promise<Prepared['spine']> {
  if ('rows' in request.spine) {
    const rows = request.spine.rows as JsonObject[];
    return { columns: spineColumns(rows, typed), rows: rows.length, origin: undefined };
  }
  const dataset = await findDataset(context.db, request.spine.dataset, request.spine.version);
  const origin = { dataset: dataset.name, version: dataset.version };
  return { columns: dataset.columns, rows: dataset.rows, origin };
}

function checkSpine(request: TrainingSetRequest, views: readonly ViewVersion[], columns: readonly Column[]): void {
  const types = new Map(columns.map((column) => [column.name, column.type]));
  const problems: Problem[] = [];
  const demand = (path: string, name: string, what: string): void => {
    if (types.has(name)) return;
    const expected = `${what} among the spine's columns (${listed(columns)}).${didYouMean(name, types.keys())}`;
    problems.push({ path, field: name, code: 'missing_column', found: 'no such column', expected });
  };
  demand('eventTimestamp', request.eventTimestamp, 'the time column');
  request.labels?.forEach((label, index) => demand(`labels.${index}`, label, 'a label'));
  for (const view of views) {
    for (const key of view.keys)
      demand('spine', key.name, `a key of entity ${view.entity.name}, for view ${view.name},`);
  }
  const timeType = types.get(request.eventTimestamp);
  if (timeType !== undefined && timeType !== 'timestamp' && timeType !== 'string') {
    problems.push({
      path: 'eventTimestamp',
      field: request.eventTimestamp,
      code: 'wrong_type',
      found: timeType,
      expected: 'a column of times with a zone, such as 2013-01-31T05:00:00Z',
    });
  }
  if (problems.length === 0) return;
  const [first] = problems;
  const more = problems.length > 1 ? ` (${problems.length} problems in all)` : '';
  throw new LoftError(422, 'bad_spine', `${first?.field}: found ${first?.found}, expected ${first?.expected}${more}`, {
    problems,
  });
}

function listed(columns: readonly Column[]): string {
  const names = columns.slice(0, 30).map((column) => column.name);
  return `${names.join(', ')}${columns.length > 30 ? `, and ${columns.length - 30} more` : ''}`;
}

function checkClashes(features: readonly ResolvedFeature[], columns: readonly Column[]): void {
  const names = new Map(columns.map((column) => [column.name.toLowerCase(), column.name]));
  const clash = features.find((feature) => names.has(feature.column));
  if (!clash) return;
  throw new LoftError(
    422,
    'column_clash',
    `The spine has a column ${names.get(clash.column)} already, so ${formatFeatureRef(clash.ref)} can't be column ${clash.column}. Ask for fullNames (${clash.ref.view}__${clash.ref.feature}), or rename the spine's column.`,
  );
}

function planOf({ features, spine, spineTypes }: Prepared): z.infer<typeof TrainingSetPlan> {
  return {
    dryRun: true,
    rows: spine.rows,
    columns: [...spineTypes, ...features.map(resultColumn)],
    features: features.map((feature) => formatFeatureRef(feature.ref)),
    warnings: features
      .filter((feature) => deprecationOf(feature) !== undefined)
      .map((feature) => `${formatFeatureRef(feature.ref)} is deprecated: ${deprecationOf(feature)}`),
  };
}

function deprecationOf(feature: ResolvedFeature): string | undefined {
  return feature.view.definition.features.find((one) => one.name === feature.feature.name)?.deprecated;
}

function resultColumn(feature: ResolvedFeature): Column {
  return { name: feature.column, type: formatValueType(feature.feature.type) };
}

async function build(context: TrainingSetContext, prepared: Prepared): Promise<TrainingSetInfo> {
  const { request, features, views } = prepared;
  const unfinished = join(context.tmpDir, `training-${randomUUID()}.parquet`);
  const rowsFile = join(context.tmpDir, `spine-${randomUUID()}.ndjson`);
  try {
    const built = await context.build({
      target: unfinished,
      spine: await spineFor(context, prepared, rowsFile),
      spineTypes: prepared.spineTypes,
      eventTimestamp: request.eventTimestamp,
      features: features.map((feature) => ({
        view: views.indexOf(feature.view),
        feature: feature.feature.name,
        type: formatValueType(feature.feature.type),
        column: feature.column,
      })),
      views: views.map((view) => ({
        name: view.name,
        version: view.version,
        table: view.table,
        keys: view.keys.map((key) => ({ name: key.name, type: formatValueType(key.type) })),
        ttlSeconds: view.ttlSeconds,
      })),
      asKnownAt: request.asKnownAt ?? false,
    });
    return await context.inOrder(() => store(context, prepared, built, unfinished));
  } finally {
    await rm(rowsFile, { force: true });
    await rm(unfinished, { force: true });
  }
}

async function spineFor(context: TrainingSetContext, { request, spine }: Prepared, rowsFile: string): Promise<Spine> {
  if ('rows' in request.spine) {
    await writeSpine(rowsFile, request.spine.rows as JsonObject[], spine.columns);
    return { file: rowsFile, columns: spine.columns };
  }
  return refOf(await findDataset(context.db, request.spine.dataset, spine.origin?.version));
}

/**
 * What the id is the hash of: everything that the result is a function of, and the result. Neither names of files and datasets nor
 * descriptions, snapshots and engines are in it.
 */
function recipeOf({ request, features, views }: Prepared, built: BuiltTrainingSet): Record<string, unknown> {
  return {
    features: features.map((feature) => formatFeatureRef(feature.ref)),
    views: Object.fromEntries(
      views.map((view) => [
        formatViewRef({ view: view.name, version: view.version }),
        {
          keys: view.keys.map((key) => ({ name: key.name, type: formatValueType(key.type) })),
          types: Object.fromEntries(
            features
              .filter((feature) => feature.view === view)
              .map((feature) => [feature.feature.name, formatValueType(feature.feature.type)]),
          ),
          ttlSeconds: view.ttlSeconds ?? null,
        },
      ]),
    ),
    spine: { content: built.spineHash, eventTimestamp: request.eventTimestamp, labels: request.labels ?? [] },
    switches: { asKnownAt: request.asKnownAt ?? false, fullNames: request.fullNames ?? false },
    splits: null,
    schema: built.columns,
    rows: built.rows,
    content: built.contentHash,
  };
}

async function store(
  context: TrainingSetContext,
  prepared: Prepared,
  built: BuiltTrainingSet,
  unfinished: string,
): Promise<TrainingSetInfo> {
  const { name } = prepared.request;
  const recipe = recipeOf(prepared, built);
  const id = createHash('sha256').update(canonicalJson(recipe)).digest('hex');
  const standing = await standingTrainingSet(context.db, name, id);
  if (standing) return standing;
  const version = await nextVersion(context.db, name);
  const file = join(context.trainingDir, name, `v${version}`, 'data.parquet');
  await placeFile(unfinished, file);
  return await recordTrainingSet(
    context.db,
    {
      name,
      version,
      id,
      rows: built.rows,
      columns: built.columns,
      files: [{ file: `training/${name}/v${version}/data.parquet`, sha256: built.sha256, bytes: built.bytes }],
      warnings: [...planOf(prepared).warnings, ...built.warnings],
      recipe,
      snapshot: built.snapshot,
      engine: context.engine,
    },
    prepared.features.map((feature) => feature.ref),
    prepared.spine.origin,
  );
}
