import type { OnlineRequest } from '../../contract/api';
import type { z } from 'zod';
import { LoftError } from '../../contract/errors';
import { toPostgres } from '../postgres/columnTypes';
import { featureTable, quoteName } from '../postgres/identifiers';
import { resolveFeatures } from '../registry/resolve';
import type { RegistrySnapshot, TypedColumn, ViewVersion } from '../registry/snapshot';

export type ReadRequest = z.infer<typeof OnlineRequest>;

/** How one choice of features is read: made once a registry version, whatever the keys. */
export interface ReadPlan {
  /** Key columns to be given: each once, also when several views have it. Two views may want one name as two types. */
  keys: readonly TypedColumn[];
  views: readonly PlannedView[];
  columns: readonly PlannedColumn[];
  /** One statement for all views; its parameters are one text array a key. See `readStatement`. */
  sql: string;
}

/** Where a view's part of a result row is. */
export interface PlannedView {
  view: ViewVersion;
  /** Places of the view's keys in the plan's. */
  keys: readonly number[];
  features: TypedColumn[];
  /** Place of the event time in a result row; whether it is within its ttl follows, and then the features. */
  eventAt: number;
}
export interface PlannedColumn extends TypedColumn {
  /** Place of its view in the plan. */
  view: number;
  /** Place in a result row. */
  at: number;
}

/** Before the views in a result row: registry version, time of the statement, the key's number from 1. */
const FIRST_VIEW_COLUMN = 3;

/** Postgres gives at most 1,664 columns, and each view takes two besides its features. */
const MAX_RESULT_COLUMNS = 1_664;
const MAX_PLANS = 500;
const known = new WeakMap<RegistrySnapshot, Map<string, ReadPlan>>();

/** Throws what `resolveFeatures` does, and LoftError 422 `too_many_features`. */
export function planRead(snapshot: RegistrySnapshot, request: ReadRequest): ReadPlan {
  let plans = known.get(snapshot);
  if (plans === undefined) known.set(snapshot, (plans = new Map<string, ReadPlan>()));
  const name = JSON.stringify([request.features ?? null, request.service ?? null, request.fullNames === true]);
  let plan = plans.get(name);
  if (plan === undefined) {
    plan = makePlan(snapshot, request);
    if (plans.size >= MAX_PLANS) plans.clear();
    plans.set(name, plan);
  }
  return plan;
}

function makePlan(snapshot: RegistrySnapshot, request: ReadRequest): ReadPlan {
  const resolved = resolveFeatures(snapshot, request);
  const keys: TypedColumn[] = [];
  const views: PlannedView[] = [];
  for (const { view, feature } of resolved) {
    let planned = views.find((one) => one.view === view);
    if (planned === undefined) {
      planned = { view, keys: view.keys.map((key) => placeOfKey(keys, key)), features: [], eventAt: 0 };
      views.push(planned);
    }
    planned.features.push(feature);
  }
  let at = FIRST_VIEW_COLUMN;
  for (const planned of views) {
    planned.eventAt = at;
    at += 2 + planned.features.length;
  }
  if (at > MAX_RESULT_COLUMNS) {
    throw new LoftError(
      422,
      'too_many_features',
      `One read takes at most about ${MAX_RESULT_COLUMNS} features; this one has ${resolved.length} of ${views.length} views. Ask in several requests.`,
    );
  }
  const columns = resolved.map(({ view, feature, column }): PlannedColumn => {
    const index = views.findIndex((one) => one.view === view);
    const planned = views[index];
    const place = (planned?.eventAt ?? 0) + 2 + (planned?.features.indexOf(feature) ?? 0);
    return { name: column, type: feature.type, view: index, at: place };
  });
  return { keys, views, columns, sql: readStatement(keys, views) };
}

function placeOfKey(keys: TypedColumn[], key: TypedColumn): number {
  const text = JSON.stringify(key);
  const place = keys.findIndex((other) => JSON.stringify(other) === text);
  return place === -1 ? keys.push(key) - 1 : place;
}

/**
 * All views of a call in one statement, so that it has one snapshot and one time. The registry's version and the time
 * stand in the row of the first key only. With no keys there is one row, without a number.
 */
function readStatement(keys: readonly TypedColumn[], views: readonly PlannedView[]): string {
  const first = (expression: string): string => `CASE WHEN k.n > 1 THEN NULL ELSE ${expression} END`;
  const columns = [
    first('h.registry_version'),
    first('statement_timestamp()'),
    'k.n',
    ...views.flatMap(({ view, features }, index) => [
      `v${index}."event_timestamp"`,
      isValid(view, `v${index}`),
      ...features.map((feature) => `v${index}.${quoteName(feature.name)}`),
    ]),
  ];
  const joins = views.map(({ view, keys: places }, index) => {
    const same = view.keys.map((key, at) => {
      const given = toPostgres(key.type).cast(`k.k${places[at]}`);
      return `v${index}.${quoteName(key.name)} = ${given}`;
    });
    return `LEFT JOIN ${featureTable(view.name, view.version)} AS v${index} ON ${same.join(' AND ')}`;
  });
  return `SELECT ${columns.join(', ')}
FROM registry.head AS h
LEFT JOIN unnest(${keys.map((_, at) => `$${at + 1}::text[]`).join(', ')}) WITH ORDINALITY AS k(${keys.map((_, at) => `k${at}`).join(', ')}, n) ON true
${joins.join('\n')}`;
}

/** Inclusive; an event ahead of the clock has a negative age, which is within any ttl. */
function isValid(view: ViewVersion, alias: string): string {
  if (view.ttlSeconds === undefined) return 'true';
  return `statement_timestamp() - ${alias}."event_timestamp" <= interval '${view.ttlSeconds} seconds'`;
}
