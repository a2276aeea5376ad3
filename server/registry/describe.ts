import { z } from 'zod';
import type { FeatureInfo, RegistryItem, RegistryPage, ViewInfo } from '../../contract/api';
import type { EntityDefinition } from '../../contract/definitions';
import { parseDuration } from '../../contract/durations';
import { LoftError } from '../../contract/errors';
import { formatFeatureRef, parseFeatureRef, type FeatureReference } from '../../contract/references';
import { formatValueType } from '../../contract/valueTypes';
import { timestampCell } from '../postgres/columnTypes';
import type { Db } from '../postgres/connect';
import { currentVersion, refuseBadReference, resolveRef, resolveView } from './resolve';
import type { RegistrySnapshot, Service, TypedColumn, ViewVersion } from './snapshot';

export interface PageQuery {
  cursor?: string | undefined;
  limit: number;
  entity?: string | undefined;
  owner?: string | undefined;
  tag?: string | undefined;
  view?: string | undefined;
}

/** `view` or `view@v2`, with its state of now. Throws LoftError 422 `bad_reference`, 404 `unknown_view` or `unknown_version`. */
export async function describeView(db: Db, snapshot: RegistrySnapshot, text: string): Promise<ViewInfo> {
  const [info] = await viewInfos(db, snapshot, [resolveView(snapshot, text)]);
  return info as ViewInfo;
}

/** `view:feature` or `view@v2:feature`. Throws as describeView does, and 404 `unknown_feature`. */
export async function describeFeature(
  db: Db,
  snapshot: RegistrySnapshot,
  text: string,
): Promise<FeatureInfo & { in: ViewInfo }> {
  const { view, feature } = resolveRef(
    snapshot,
    refuseBadReference(() => parseFeatureRef(text)),
  );
  const [info] = await viewInfos(db, snapshot, [view]);
  return { ...featureInfo(view, feature), in: info as ViewInfo };
}

/** What a feature is, with what it inherits from its view. */
export function featureInfo(view: ViewVersion, feature: TypedColumn): FeatureInfo {
  const own = view.definition.features.find(({ name }) => name === feature.name);
  const tags = tagsOf(view, feature.name);
  const ref = { view: view.name, feature: feature.name, ...(view.current ? {} : { version: view.version }) };
  return {
    ref: formatFeatureRef(ref),
    name: feature.name,
    view: view.name,
    version: view.version,
    entity: view.entity.name,
    type: formatValueType(feature.type),
    ...described({ description: own?.description, owner: view.definition.owner, tags }),
    ...(own?.deprecated === undefined ? {} : { deprecated: own.deprecated }),
    ...(own?.sensitive === undefined ? {} : { sensitive: own.sensitive }),
    ...(own?.rules === undefined ? {} : { rules: own.rules }),
  };
}

/** A feature's own tags, then its view's. */
function tagsOf(view: ViewVersion, feature: string): string[] {
  const own = view.definition.features.find(({ name }) => name === feature)?.tags ?? [];
  return [...new Set([...own, ...(view.definition.tags ?? [])])];
}

/** Entities, then views (their current versions), then services, each by name; filters narrow it. */
export async function registryPage(
  db: Db,
  snapshot: RegistrySnapshot,
  query: PageQuery,
): Promise<z.infer<typeof RegistryPage>> {
  const after = query.cursor === undefined ? undefined : readCursor(query.cursor);
  const entries = entriesOf(snapshot, query).filter((entry) => after === undefined || comesAfter(entry, after));
  const page = entries.slice(0, query.limit);
  const last = page.at(-1);
  const views = page.flatMap((entry) => (entry.kind === 'view' ? [entry.view] : []));
  const infos = new Map((await viewInfos(db, snapshot, views)).map((info) => [info.name, info]));
  return {
    registryVersion: snapshot.registryVersion,
    items: page.map((entry): RegistryItem => {
      switch (entry.kind) {
        case 'entity':
          return { kind: 'entity', ...described(entry.entity), name: entry.name, keys: entry.entity.keys };
        case 'view':
          return { kind: 'view', view: infos.get(entry.name) as ViewInfo };
        case 'service':
          return serviceItem(entry.service);
      }
    }),
    ...(last !== undefined && entries.length > page.length ? { nextCursor: writeCursor(last) } : {}),
  };
}

function serviceItem({ definition, resolved }: Service): RegistryItem {
  return {
    kind: 'service',
    name: definition.name,
    features: definition.features,
    resolved: resolved.map((ref) => formatFeatureRef(ref)),
    ...described(definition),
  };
}

// --- pages ----------------------------------------------------------------------------------------------------------

type Entry = { name: string } & (
  | { kind: 'entity'; entity: EntityDefinition }
  | { kind: 'view'; view: ViewVersion }
  | { kind: 'service'; service: Service }
);

function entriesOf(snapshot: RegistrySnapshot, query: PageQuery): Entry[] {
  const { entity, owner, tag, view: viewName } = query;
  const owned = (it: { owner?: string | undefined; tags?: string[] | undefined }): boolean =>
    (owner === undefined || it.owner === owner) && (tag === undefined || (it.tags ?? []).includes(tag));
  const entities = [...snapshot.entities.values()]
    .filter((one) => viewName === undefined && (entity === undefined || one.name === entity) && owned(one))
    .map((one): Entry => ({ kind: 'entity', name: one.name, entity: one }));
  const views = [...snapshot.views.values()]
    .flatMap((versions) => currentVersion(versions) ?? [])
    .filter(
      (view) =>
        (viewName === undefined || view.name === viewName) &&
        (entity === undefined || view.entity.name === entity) &&
        owned({
          owner: view.definition.owner,
          tags: [...(view.definition.tags ?? []), ...view.definition.features.flatMap(({ tags }) => tags ?? [])],
        }),
    )
    .map((view): Entry => ({ kind: 'view', name: view.name, view }));
  const services = [...snapshot.services.values()]
    .filter(
      ({ definition, resolved }) =>
        viewName === undefined &&
        (entity === undefined || resolved.some((ref) => entityOf(snapshot, ref) === entity)) &&
        owned(definition),
    )
    .map((service): Entry => ({ kind: 'service', name: service.definition.name, service }));
  return [...entities, ...views, ...services];
}

function entityOf(snapshot: RegistrySnapshot, ref: Required<FeatureReference>): string | undefined {
  return snapshot.views.get(ref.view)?.get(ref.version)?.entity.name;
}

const kinds = ['entity', 'view', 'service'] as const;
const Cursor = z.tuple([z.enum(kinds), z.string()]);

function writeCursor({ kind, name }: Entry): string {
  return Buffer.from(JSON.stringify([kind, name])).toString('base64url');
}

function readCursor(text: string): z.infer<typeof Cursor> {
  try {
    return Cursor.parse(JSON.parse(Buffer.from(text, 'base64url').toString()));
  } catch {
    throw new LoftError(
      422,
      'bad_cursor',
      'The cursor is not one of this list: send the nextCursor of a page, or none.',
    );
  }
}

function comesAfter(entry: Entry, [kind, name]: z.infer<typeof Cursor>): boolean {
  const order = kinds.indexOf(entry.kind) - kinds.indexOf(kind);
  return order > 0 || (order === 0 && entry.name > name);
}

// --- a view's state and lineage -------------------------------------------------------------------------------------

async function viewInfos(db: Db, snapshot: RegistrySnapshot, views: readonly ViewVersion[]): Promise<ViewInfo[]> {
  if (views.length === 0) return [];
  const states = await viewStates(db, views);
  return views.map((view): ViewInfo => {
    const { definition } = view;
    const state = states.get(`${view.name}@v${view.version}`);
    const late =
      definition.freshness !== undefined &&
      state?.ageSeconds !== undefined &&
      state.ageSeconds > parseDuration(definition.freshness);
    return {
      name: view.name,
      version: view.version,
      current: view.current,
      entity: view.entity.name,
      keys: view.entity.keys.map(({ name, type }) => ({ name, type })),
      ...(definition.ttl === undefined ? {} : { ttl: definition.ttl }),
      ...(definition.freshness === undefined ? {} : { freshness: definition.freshness }),
      ...(definition.allow_future_events === undefined ? {} : { allow_future_events: definition.allow_future_events }),
      ...(definition.source === undefined ? {} : { source: definition.source }),
      ...described(definition),
      features: view.features.map((feature) => featureInfo(view, feature)),
      versions: [...(snapshot.views.get(view.name)?.values() ?? [])].map(({ version, current }) => ({
        version,
        current,
      })),
      state: { newestEvent: state?.newestEvent ?? null, rows: state?.rows ?? 0, late },
      lineage: {
        services: [...snapshot.services.values()]
          .filter(({ resolved }) => resolved.some((ref) => ref.view === view.name && ref.version === view.version))
          .map((service) => service.definition.name),
        trainingSets: state?.trainingSets ?? [],
        datasets: definition.source !== undefined && 'dataset' in definition.source ? [definition.source.dataset] : [],
      },
    };
  });
}

interface ViewState {
  rows: number;
  newestEvent: string | null;
  /** Of the newest event, by the database's clock. */
  ageSeconds: number | undefined;
  trainingSets: string[];
}

/** Rows that reached history and those on their way. Training sets are read here: they come without a new registry version. */
async function viewStates(db: Db, views: readonly ViewVersion[]): Promise<Map<string, ViewState>> {
  const { rows } = await db.query<{
    name: string;
    row_count: string;
    newest: string | null;
    age: string | null;
    training_sets: string | null;
  }>(
    `SELECT v.view || '@v' || v.version AS name, coalesce(s.rows, 0) + coalesce(o.rows, 0) AS row_count,
            n.newest, extract(epoch FROM statement_timestamp() - n.newest) AS age, t.training_sets
       FROM unnest($1::text[], $2::int[]) AS v(view, version)
       LEFT JOIN registry.view_state s ON s.view = v.view AND s.version = v.version
       LEFT JOIN LATERAL (SELECT sum(row_count) AS rows, max(newest_event) AS newest
                            FROM registry.outbox WHERE view = v.view AND version = v.version) o ON true
       CROSS JOIN LATERAL (SELECT greatest(s.newest_event, o.newest) AS newest) n
       LEFT JOIN (SELECT f.ref->>'view' AS view, (f.ref->>'version')::int AS version,
                         json_agg(DISTINCT name COLLATE "C") AS training_sets
                    FROM registry.training_sets, json_array_elements(features) AS f(ref) GROUP BY 1, 2) t
         ON t.view = v.view AND t.version = v.version`,
    [views.map(({ name }) => name), views.map(({ version }) => version)],
  );
  return new Map(
    rows.map((row) => [
      row.name,
      {
        rows: Number(row.row_count),
        newestEvent: row.newest === null ? null : timestampCell(row.newest),
        ageSeconds: row.age === null ? undefined : Number(row.age),
        trainingSets: row.training_sets === null ? [] : (JSON.parse(row.training_sets) as string[]),
      },
    ]),
  );
}

interface Described {
  description?: string | undefined;
  owner?: string | undefined;
  tags?: string[] | undefined;
}

function described({ description, owner, tags }: Described): { description?: string; owner?: string; tags?: string[] } {
  return {
    ...(description === undefined ? {} : { description }),
    ...(owner === undefined ? {} : { owner }),
    ...(tags === undefined || tags.length === 0 ? {} : { tags }),
  };
}
