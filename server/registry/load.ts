import type { ClientBase, Pool } from 'pg';
import type { EntityDefinition, ServiceDefinition, ViewDefinition } from '../../contract/definitions';
import { parseDuration } from '../../contract/durations';
import { parseJson } from '../../contract/json';
import type { FeatureReference } from '../../contract/references';
import { parseValueType } from '../../contract/valueTypes';
import { bareTable } from '../postgres/identifiers';
import type { RegistrySnapshot, TypedColumn, ViewVersion } from './snapshot';

/**
 * View versions of earlier loads by the text they were made from. With it, a load gives the same object for what did
 * not change, so that what others keep by view version (prepared reads, search entries) stays good across publishes.
 */
export type LoadMemory = Map<string, { text: string; version: ViewVersion }>;

/**
 * Reads the registry as one snapshot: one statement, whatever is published meanwhile. Names in their byte order.
 * Every column is nullable only because an aggregate over no rows is.
 */
export async function loadRegistry(
  client: Pool | ClientBase,
  memory: LoadMemory = new Map(),
): Promise<RegistrySnapshot> {
  const { rows } = await client.query<{
    registry_version: string;
    entities: string | null;
    versions: string | null;
    services: string | null;
    training_sets: string | null;
  }>(`
    SELECT registry_version,
      (SELECT json_agg(definition ORDER BY name) FROM registry.entities) AS entities,
      (SELECT json_agg(json_build_object('version', v.version, 'current', v.version = w.current_version,
                'definition', v.definition::text, 'entity', v.entity_definition::text) ORDER BY v.view, v.version)
         FROM registry.view_versions v JOIN registry.views w ON w.name = v.view) AS versions,
      (SELECT json_agg(json_build_object('definition', definition, 'resolved', resolved) ORDER BY name)
         FROM registry.services) AS services,
      (SELECT json_agg(json_build_object('name', name, 'version', version, 'features', features) ORDER BY name, version)
         FROM registry.training_sets) AS training_sets
    FROM registry.head`);
  const row = rows[0];
  if (row === undefined) throw new Error('registry.head has lost its row');
  const list = <Item>(text: string | null): Item[] => (text === null ? [] : (parseJson(text) as unknown as Item[]));

  const entities = new Map(
    list<EntityDefinition>(row.entities).map((entity): [string, EntityDefinition] => [entity.name, entity]),
  );
  return assembleSnapshot(
    Number(row.registry_version),
    entities,
    list<StoredVersion>(row.versions).map((stored) => remembered(stored, entities, memory)),
    list<{ definition: ServiceDefinition; resolved: Required<FeatureReference>[] }>(row.services),
    list(row.training_sets),
  );
}

interface StoredVersion {
  version: number;
  current: boolean;
  definition: string;
  entity: string;
}

function remembered(
  stored: StoredVersion,
  entities: ReadonlyMap<string, EntityDefinition>,
  memory: LoadMemory,
): ViewVersion {
  const definition = parseJson(stored.definition) as unknown as ViewDefinition;
  const latest = entities.get(definition.entity);
  const text = [stored.current, stored.definition, stored.entity, JSON.stringify(latest)].join('\n');
  const key = `${definition.name}@v${stored.version}`;
  const known = memory.get(key);
  if (known?.text === text) return known.version;
  // A version keeps its keys for ever; the words about its entity are today's.
  const keys = (parseJson(stored.entity) as unknown as EntityDefinition).keys;
  const entity = { ...(latest ?? { name: definition.entity }), keys };
  const version = makeViewVersion({ version: stored.version, current: stored.current, definition, entity });
  memory.set(key, { text, version });
  return version;
}

export function makeViewVersion(parts: {
  version: number;
  current: boolean;
  definition: ViewDefinition;
  entity: EntityDefinition;
}): ViewVersion {
  const { version, current, definition, entity } = parts;
  const typed = ({ name, type }: { name: string; type: string }): TypedColumn => ({ name, type: parseValueType(type) });
  const features = definition.features.map(typed);
  const ttlSeconds = definition.ttl === undefined ? 0 : parseDuration(definition.ttl);
  return {
    name: definition.name,
    version,
    current,
    definition,
    entity,
    keys: entity.keys.map(typed),
    features,
    featuresByName: new Map(features.map((feature) => [feature.name, feature])),
    ttlSeconds: ttlSeconds === 0 ? undefined : ttlSeconds,
    table: bareTable(definition.name, version),
  };
}

/** `versions` ordered by view and version. */
export function assembleSnapshot(
  registryVersion: number,
  entities: ReadonlyMap<string, EntityDefinition>,
  versions: readonly ViewVersion[],
  services: readonly { definition: ServiceDefinition; resolved: readonly Required<FeatureReference>[] }[],
  trainingSets: RegistrySnapshot['trainingSets'],
): RegistrySnapshot {
  const views = new Map<string, Map<number, ViewVersion>>();
  for (const version of versions) {
    const ofView = views.get(version.name) ?? new Map<number, ViewVersion>();
    views.set(version.name, ofView.set(version.version, version));
  }
  return {
    registryVersion,
    entities,
    views,
    services: new Map(services.map((service) => [service.definition.name, service])),
    trainingSets,
  };
}
