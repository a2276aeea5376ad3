import type {
  EntityDefinition,
  FeatureDefinition,
  KeyDefinition,
  ServiceDefinition,
  ViewDefinition,
} from '../../contract/definitions';
import { canonicalJson } from '../../contract/canonical';
import { formatValueType, parseValueType } from '../../contract/valueTypes';
import type { Change } from '../../contract/api';

// Definitions in the one form that is stored and compared: what means the same is written the same, what says nothing
// is left out. So an unchanged file is always an empty plan.

export function normalEntity(entity: EntityDefinition): EntityDefinition {
  return { name: entity.name, ...words(entity), keys: entity.keys.map(normalType) };
}

export function normalView(view: ViewDefinition): ViewDefinition {
  const { name, entity, ttl, freshness, allow_future_events, source, features } = view;
  return {
    name,
    entity,
    ...words(view),
    ...(ttl === undefined ? {} : { ttl }),
    ...(freshness === undefined ? {} : { freshness }),
    ...(allow_future_events === true ? { allow_future_events } : {}),
    ...(source === undefined ? {} : { source }),
    features: features.map(normalFeature),
  };
}

export function normalService(service: ServiceDefinition): ServiceDefinition {
  return { name: service.name, ...words(service), features: [...service.features] };
}

function normalFeature(feature: FeatureDefinition): FeatureDefinition {
  const { name, type, description, tags, deprecated, sensitive, rules } = feature;
  return {
    ...normalType({ name, type }),
    ...words({ description, tags }),
    ...(deprecated === undefined ? {} : { deprecated }),
    ...(sensitive === true ? { sensitive } : {}),
    ...(rules === undefined || rules.length === 0 ? {} : { rules }),
  };
}

function normalType({ name, type }: KeyDefinition): KeyDefinition {
  return { name, type: formatValueType(parseValueType(type)) };
}

interface Words {
  description?: string | undefined;
  owner?: string | undefined;
  tags?: string[] | undefined;
}

function words({ description, owner, tags }: Words): Words {
  return {
    ...(description ? { description } : {}),
    ...(owner ? { owner } : {}),
    ...(tags === undefined || tags.length === 0 ? {} : { tags: [...new Set(tags)].sort() }),
  };
}

export type ChangedProperty = Change['properties'][number];

/** Which properties differ between two objects, one entry each: dotted path, old and new as bare values. Lists are one value. */
export function changedProperties(before: object, after: object): ChangedProperty[] {
  const old = leaves(before);
  const now = leaves(after);
  const changed: ChangedProperty[] = [];
  for (const [path, value] of old)
    if (!now.has(path)) changed.push({ path, old: value });
    else if (canonicalJson(now.get(path)) !== canonicalJson(value))
      changed.push({ path, old: value, new: now.get(path) });
  for (const [path, value] of now) if (!old.has(path)) changed.push({ path, new: value });
  return changed;
}

function leaves(value: object): Map<string, unknown> {
  const found = new Map<string, unknown>();
  const visit = (member: unknown, path: string): void => {
    if (typeof member === 'object' && member !== null && !Array.isArray(member))
      for (const [name, inner] of Object.entries(member)) visit(inner, path === '' ? name : `${path}.${name}`);
    else if (member !== undefined) found.set(path, member);
  };
  visit(value, '');
  return found;
}

/** What is compared of a view version: its definition with features and keys by name. */
export function comparableView(view: ViewDefinition, keys: readonly KeyDefinition[]): object {
  const { name: _name, version: _version, features, ...rest } = view;
  return { ...rest, keys: byName(keys, ({ type }) => type), features: byName(features, ({ name: _, ...own }) => own) };
}

export function comparableEntity(entity: EntityDefinition): object {
  const { name: _name, keys, ...rest } = entity;
  return { ...rest, keys: byName(keys, ({ type }) => type) };
}

function byName<Item extends { name: string }>(items: readonly Item[], value: (item: Item) => unknown): object {
  return Object.fromEntries(items.map((item) => [item.name, value(item)]));
}

/** The order of keys is the order of the primary key, so another order is another key. */
export function keyChanges(before: readonly KeyDefinition[], after: readonly KeyDefinition[]): ChangedProperty[] {
  const changed = changedProperties(
    { keys: byName(before, ({ type }) => type) },
    { keys: byName(after, ({ type }) => type) },
  );
  const names = (keys: readonly KeyDefinition[]): string[] => keys.map(({ name }) => name);
  const reordered = changed.length === 0 && names(before).join() !== names(after).join();
  return reordered ? [{ path: 'keys', old: names(before), new: names(after) }] : changed;
}
