import { z } from 'zod';
import { DefinitionsInput } from './definitions';

/**
 * The gateway's surface, one entry a route. The Express handlers, the typed client and the OpenAPI page all follow from
 * this table. Paths use `{name}` for a parameter. What a body or an answer is made of is said by its schema, or by
 * `'rows'` (a body that is not JSON alone: CSV, NDJSON, Parquet) and `'data'` (stored data, by `Accept`) and
 * `'events'` (server-sent events).
 */
export interface Route {
  method: 'GET' | 'POST' | 'DELETE';
  path: string;
  summary: string;
  /** Answered without a token. */
  public?: true;
  query?: z.ZodObject;
  body?: z.ZodType | 'rows';
  answer: z.ZodType | 'data' | 'events' | 'openapi';
}

const Count = z.int().min(0);
const Ref = z.string().meta({ description: 'view:feature, or view@v2:feature for a pinned version' });
const Timestamp = z.string().meta({ format: 'date-time', description: 'RFC 3339 in UTC, at most microseconds' });
const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const Value = z.unknown().meta({ description: 'a JSON value of the column’s type (docs/semantics.md)' });
const Row = z.record(z.string(), z.unknown());
const Page = { cursor: z.string().optional(), limit: z.coerce.number().int().min(1).max(1_000).default(100) };

// --- registry -----------------------------------------------------------------------------------------------------

export const Change = z.strictObject({
  action: z.enum(['create', 'update', 'deprecate', 'remove', 'promote']),
  kind: z.enum(['entity', 'view', 'feature', 'service', 'dataset', 'training_set']),
  /** A feature's is `view:feature`. */
  name: z.string(),
  version: z.int().optional(),
  class: z.enum(['metadata', 'additive', 'breaking']),
  properties: z.array(z.strictObject({ path: z.string(), old: z.unknown().optional(), new: z.unknown().optional() })),
  affects: z.strictObject({ services: z.array(z.string()), trainingSets: z.array(z.string()) }),
  /** The statements that would run, for people to read. */
  sql: z.array(z.string()),
});
export type Change = z.infer<typeof Change>;

export const PlanRequest = z.strictObject({
  definitions: DefinitionsInput,
  remove: z
    .array(z.string())
    .optional()
    .meta({ description: 'view, view@v1, view:feature, entity:name or service:name' }),
  promote: z.union([z.boolean(), z.strictObject({ services: z.array(z.string()) })]).optional(),
});
export const PlanAnswer = z.strictObject({ planHash: Sha256, registryVersion: Count, changes: z.array(Change) });
export type PlanAnswer = z.infer<typeof PlanAnswer>;

export const PublishRequest = PlanRequest.extend({
  planHash: z.string().optional(),
  registryVersion: Count.optional(),
  force: z.boolean().optional(),
});
export const PublishAnswer = z.strictObject({ registryVersion: Count, changes: z.array(Change) });
export type PublishAnswer = z.infer<typeof PublishAnswer>;

const Described = {
  description: z.string().optional(),
  owner: z.string().optional(),
  tags: z.array(z.string()).optional(),
};
const Statistics = z.strictObject({
  rows: Count,
  nulls: Count,
  distinct: Count,
  min: Value.optional(),
  max: Value.optional(),
  mean: z.number().nullable().optional(),
  std: z.number().nullable().optional(),
  quantiles: z.array(z.number()).optional(),
  histogram: z.strictObject({ edges: z.array(z.number()), counts: z.array(Count) }).optional(),
  top: z.array(z.strictObject({ value: Value, count: Count })).optional(),
  computedAt: Timestamp,
  snapshot: z.int().optional(),
});
export type Statistics = z.infer<typeof Statistics>;

const Freshness = z.strictObject({
  /** Newest event time that was ever accepted, drained or not. */
  newestEvent: Timestamp.nullable(),
  /** Rows accepted so far, superseded ones included. */
  rows: Count,
  late: z.boolean(),
});
export const FeatureInfo = z.strictObject({
  ref: Ref,
  name: z.string(),
  view: z.string(),
  version: z.int(),
  entity: z.string(),
  type: z.string(),
  ...Described,
  deprecated: z.string().optional(),
  sensitive: z.boolean().optional(),
  rules: z.array(z.unknown()).optional(),
});
export type FeatureInfo = z.infer<typeof FeatureInfo>;
export const ViewInfo = z.strictObject({
  name: z.string(),
  version: z.int(),
  current: z.boolean(),
  entity: z.string(),
  keys: z.array(z.strictObject({ name: z.string(), type: z.string() })),
  ttl: z.string().optional(),
  freshness: z.string().optional(),
  allow_future_events: z.boolean().optional(),
  source: z.unknown().optional(),
  ...Described,
  features: z.array(FeatureInfo),
  versions: z.array(z.strictObject({ version: z.int(), current: z.boolean() })),
  state: Freshness,
  lineage: z.strictObject({
    services: z.array(z.string()),
    trainingSets: z.array(z.string()),
    datasets: z.array(z.string()),
  }),
});
export type ViewInfo = z.infer<typeof ViewInfo>;
export const RegistryItem = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('entity'),
    name: z.string(),
    keys: z.array(z.strictObject({ name: z.string(), type: z.string() })),
    ...Described,
  }),
  z.strictObject({ kind: z.literal('view'), view: ViewInfo }),
  z.strictObject({
    kind: z.literal('service'),
    name: z.string(),
    features: z.array(Ref),
    /** The same references with the versions they keep. */
    resolved: z.array(Ref),
    ...Described,
  }),
]);
export type RegistryItem = z.infer<typeof RegistryItem>;
const list = <Item extends z.ZodType>(item: Item) =>
  z.strictObject({ items: z.array(item), nextCursor: z.string().optional() });
export const RegistryPage = list(RegistryItem).extend({ registryVersion: Count });

export const SearchAnswer = z.strictObject({
  hits: z.array(
    z.strictObject({
      ref: Ref,
      score: z.number(),
      terms: z.array(z.string()),
      view: z.string(),
      entity: z.string(),
      type: z.string(),
      ...Described,
    }),
  ),
  total: Count,
  tookMs: z.number(),
});
export type SearchAnswer = z.infer<typeof SearchAnswer>;

export const ChangeEvent = z.strictObject({
  registryVersion: Count,
  changes: z.array(
    z.strictObject({
      kind: Change.shape.kind,
      name: z.string(),
      version: z.int().optional(),
      action: Change.shape.action,
    }),
  ),
});
export type ChangeEvent = z.infer<typeof ChangeEvent>;

// --- online -------------------------------------------------------------------------------------------------------

/** The JSON bodies of `writeRows`; the gateway reads them by a parser that keeps each value’s text. */
export const RowsFromJson = z.union([
  z.strictObject({ rows: z.array(Row) }),
  z.strictObject({ dataset: z.string(), version: z.int().min(1).optional() }),
]);
export const WriteAnswer = z.strictObject({
  written: Count,
  superseded: Count,
  rejected: Count,
  warned: Count,
  problems: z.array(z.unknown()).optional(),
});
export type WriteAnswer = z.infer<typeof WriteAnswer>;

const FeatureChoice = { features: z.array(Ref).min(1).optional(), service: z.string().optional() };
export const OnlineRequest = z.strictObject({
  ...FeatureChoice,
  entities: z.record(z.string(), z.array(Value)),
  fullNames: z.boolean().optional(),
});
const ReadStatus = z.enum(['PRESENT', 'NULL_VALUE', 'OUTSIDE_MAX_AGE', 'NOT_FOUND']);
export type ReadStatus = z.infer<typeof ReadStatus>;
export const OnlineAnswer = z.strictObject({
  asOf: Timestamp,
  columns: z.record(
    z.string(),
    z.strictObject({
      values: z.array(Value),
      statuses: z.array(ReadStatus),
      eventTimestamps: z.array(Timestamp.nullable()),
    }),
  ),
});
export type OnlineAnswer = z.infer<typeof OnlineAnswer>;

// --- offline ------------------------------------------------------------------------------------------------------

export const StoredFile = z.strictObject({ file: z.string(), sha256: Sha256, bytes: Count });
export type StoredFile = z.infer<typeof StoredFile>;
export const Column = z.strictObject({ name: z.string(), type: z.string() });
export type Column = z.infer<typeof Column>;
export const DatasetVersion = z.strictObject({
  name: z.string(),
  version: z.int(),
  rows: Count,
  sha256: Sha256,
  files: z.array(StoredFile),
  mode: z.enum(['replace', 'append']),
  snapshot: z.int(),
  columns: z.array(Column),
  createdAt: Timestamp,
});
export type DatasetVersion = z.infer<typeof DatasetVersion>;
const Chosen = z.strictObject({ columns: z.array(z.string()), reason: z.string() });
export const Inference = z.strictObject({
  columns: z.array(z.strictObject({ name: z.string(), type: z.string(), samples: z.array(Value), reason: z.string() })),
  keys: Chosen,
  eventTimestamp: Chosen,
  createdTimestamp: Chosen,
});
export type Inference = z.infer<typeof Inference>;
export const DatasetInfo = DatasetVersion.extend({
  versions: z.array(z.strictObject({ version: z.int(), rows: Count, createdAt: Timestamp })),
  statistics: z.record(z.string(), Statistics),
  preview: z.array(Row),
  inference: Inference,
});
export type DatasetInfo = z.infer<typeof DatasetInfo>;

export const TrainingSetRequest = z.strictObject({
  name: z.string(),
  spine: z.union([
    z.strictObject({ dataset: z.string(), version: z.int().min(1).optional() }),
    z.strictObject({ rows: z.array(Row).min(1) }),
  ]),
  eventTimestamp: z.string().meta({ description: 'the spine’s time column' }),
  labels: z.array(z.string()).optional(),
  ...FeatureChoice,
  asKnownAt: z.boolean().optional(),
  fullNames: z.boolean().optional(),
  dryRun: z.boolean().optional(),
});
export type TrainingSetRequest = z.infer<typeof TrainingSetRequest>;
export const TrainingSetInfo = z.strictObject({
  name: z.string(),
  version: z.int(),
  id: Sha256,
  rows: Count,
  columns: z.array(Column),
  files: z.array(StoredFile),
  warnings: z.array(z.string()),
  /** What the id is the hash of; see docs/semantics.md. */
  recipe: z.unknown(),
  snapshot: z.int().nullable(),
  engine: z.string(),
  createdAt: Timestamp,
});
export type TrainingSetInfo = z.infer<typeof TrainingSetInfo>;
export const TrainingSetPlan = z.strictObject({
  dryRun: z.literal(true),
  rows: Count,
  columns: z.array(Column),
  features: z.array(Ref),
  warnings: z.array(z.string()),
});
export type TrainingSetPlan = z.infer<typeof TrainingSetPlan>;

const VerifyRequest = z.strictObject({ mode: z.enum(['full', 'incremental']).optional() });
export const VerifyAnswer = z.strictObject({
  checked: Count,
  bytes: Count,
  bad: z.array(
    z.strictObject({
      file: z.string(),
      table: z.string(),
      snapshot: z.int().nullable(),
      trainingSets: z.array(z.strictObject({ name: z.string(), version: z.int() })),
      problem: z.enum(['changed', 'missing', 'unrecorded']),
    }),
  ),
});
export type VerifyAnswer = z.infer<typeof VerifyAnswer>;

// --- jobs and health ----------------------------------------------------------------------------------------------

export const TrainingJobRequest = z.strictObject({
  kind: z.literal('training'),
  trainingSet: z.string(),
  version: z.int().min(1).optional(),
  label: z.string().optional().meta({ description: 'default: the training set’s only label' }),
  testFraction: z.number().gt(0).lt(1).optional(),
});
export const JobInfo = z.strictObject({
  id: z.string(),
  kind: z.enum(['training']),
  state: z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled']),
  progress: z.number().min(0).max(1),
  message: z.string(),
  request: z.unknown(),
  trainingSet: z.strictObject({ name: z.string(), version: z.int(), id: Sha256 }).optional(),
  metrics: z.record(z.string(), z.unknown()).optional(),
  files: z.array(StoredFile),
  createdAt: Timestamp,
  endedAt: Timestamp.optional(),
  error: z.string().optional(),
});
export type JobInfo = z.infer<typeof JobInfo>;

export const Health = z.strictObject({
  status: z.enum(['ok', 'degraded']),
  version: z.string().optional(),
  stores: z
    .strictObject({
      online: z.strictObject({ state: z.enum(['ok', 'away']), detail: z.string().optional(), embedded: z.boolean() }),
      offline: z.strictObject({
        state: z.enum(['ok', 'away', 'lake_elsewhere']),
        detail: z.string().optional(),
        lake: z.string(),
      }),
    })
    .optional(),
  registryVersion: Count.optional(),
  outbox: z.strictObject({ chunks: Count, rows: Count, oldestSeconds: z.number().nullable() }).optional(),
  search: z.strictObject({ features: Count }).optional(),
});
export type Health = z.infer<typeof Health>;

const version = z.coerce.number().int().min(1).optional();

export const routes = {
  health: { method: 'GET', path: '/v1/health', summary: 'Is it there, and is it well', public: true, answer: Health },
  ready: {
    method: 'GET',
    path: '/v1/health/ready',
    summary: '200 when it can serve, else 503',
    public: true,
    answer: Health,
  },
  openapi: { method: 'GET', path: '/v1/openapi.json', summary: 'This page', answer: 'openapi' },
  plan: {
    method: 'POST',
    path: '/v1/plan',
    summary: 'What a publish would change',
    body: PlanRequest,
    answer: PlanAnswer,
  },
  publish: {
    method: 'POST',
    path: '/v1/publish',
    summary: 'Publish definitions, all or nothing',
    body: PublishRequest,
    answer: PublishAnswer,
  },
  registry: {
    method: 'GET',
    path: '/v1/registry',
    summary: 'Everything published, paged',
    query: z.strictObject({
      ...Page,
      entity: z.string().optional(),
      owner: z.string().optional(),
      tag: z.string().optional(),
      view: z.string().optional(),
    }),
    answer: RegistryPage,
  },
  view: { method: 'GET', path: '/v1/views/{view}', summary: 'One feature view', answer: ViewInfo },
  feature: {
    method: 'GET',
    path: '/v1/features/{ref}',
    summary: 'One feature and its view',
    answer: FeatureInfo.extend({ in: ViewInfo }),
  },
  search: {
    method: 'GET',
    path: '/v1/search',
    summary: 'Search features by name or keyword',
    query: z.strictObject({
      q: z.string().max(500),
      limit: z.coerce.number().int().min(1).max(200).default(20),
      entity: z.string().optional(),
      owner: z.string().optional(),
      tag: z.string().optional(),
      type: z.string().optional(),
    }),
    answer: SearchAnswer,
  },
  writeRows: {
    method: 'POST',
    path: '/v1/views/{view}/rows',
    summary: 'Write rows of a view',
    query: z.strictObject({ onError: z.enum(['reject', 'skip']).default('reject') }),
    body: 'rows',
    answer: WriteAnswer,
  },
  onlineGet: {
    method: 'POST',
    path: '/v1/online/get',
    summary: 'The newest values of features',
    body: OnlineRequest,
    answer: OnlineAnswer,
  },
  changes: { method: 'GET', path: '/v1/changes', summary: 'Registry changes as they happen', answer: 'events' },
  uploadDataset: {
    method: 'POST',
    path: '/v1/datasets/{name}',
    summary: 'Upload a version of a dataset',
    query: z.strictObject({ mode: z.enum(['replace', 'append']).default('replace') }),
    body: 'rows',
    answer: DatasetVersion,
  },
  datasets: {
    method: 'GET',
    path: '/v1/datasets',
    summary: 'Newest version of each dataset',
    query: z.strictObject(Page),
    answer: list(DatasetVersion),
  },
  dataset: {
    method: 'GET',
    path: '/v1/datasets/{name}',
    summary: 'One dataset',
    query: z.strictObject({ version }),
    answer: DatasetInfo,
  },
  datasetData: {
    method: 'GET',
    path: '/v1/datasets/{name}/data',
    summary: 'A dataset’s rows',
    query: z.strictObject({ version }),
    answer: 'data',
  },
  createTrainingSet: {
    method: 'POST',
    path: '/v1/training-sets',
    summary: 'Build a training set by point-in-time join',
    body: TrainingSetRequest,
    answer: z.union([TrainingSetInfo, TrainingSetPlan]),
  },
  trainingSets: {
    method: 'GET',
    path: '/v1/training-sets',
    summary: 'Newest version of each training set',
    query: z.strictObject(Page),
    answer: list(TrainingSetInfo),
  },
  trainingSet: {
    method: 'GET',
    path: '/v1/training-sets/{name}',
    summary: 'Newest version of one',
    answer: TrainingSetInfo,
  },
  trainingSetVersion: {
    method: 'GET',
    path: '/v1/training-sets/{name}/{version}',
    summary: 'One version',
    answer: TrainingSetInfo,
  },
  trainingSetData: {
    method: 'GET',
    path: '/v1/training-sets/{name}/data',
    summary: 'Rows of the newest version',
    answer: 'data',
  },
  trainingSetVersionData: {
    method: 'GET',
    path: '/v1/training-sets/{name}/{version}/data',
    summary: 'Rows of one version',
    answer: 'data',
  },
  startJob: { method: 'POST', path: '/v1/jobs', summary: 'Start a job', body: TrainingJobRequest, answer: JobInfo },
  jobs: {
    method: 'GET',
    path: '/v1/jobs',
    summary: 'Jobs, newest first',
    query: z.strictObject(Page),
    answer: list(JobInfo),
  },
  job: { method: 'GET', path: '/v1/jobs/{id}', summary: 'One job', answer: JobInfo },
  jobEvents: {
    method: 'GET',
    path: '/v1/jobs/{id}/events',
    summary: 'A job’s progress and log as they happen',
    answer: 'events',
  },
  cancelJob: { method: 'DELETE', path: '/v1/jobs/{id}', summary: 'Cancel a job', answer: JobInfo },
  verify: {
    method: 'POST',
    path: '/v1/verify',
    summary: 'Re-hash every stored byte',
    body: VerifyRequest,
    answer: VerifyAnswer,
  },
} as const satisfies Record<string, Route>;

export type RouteName = keyof typeof routes;
