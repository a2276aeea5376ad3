import type { EntityDefinition, ServiceDefinition, ViewDefinition } from '../../contract/definitions';
import type { FeatureReference } from '../../contract/references';
import type { ValueType } from '../../contract/valueTypes';

/** One version of a feature view, with what the read and write paths need at hand. */
export interface ViewVersion {
  readonly name: string;
  readonly version: number;
  /** Unpinned references and unpinned writes mean the current version. */
  readonly current: boolean;
  readonly definition: ViewDefinition;
  readonly entity: EntityDefinition;
  readonly keys: readonly TypedColumn[];
  readonly features: readonly TypedColumn[];
  readonly featuresByName: ReadonlyMap<string, TypedColumn>;
  /** Undefined: values stay valid for ever. */
  readonly ttlSeconds: number | undefined;
  /** The table's bare name in schema `features` and in the lake: `<view>_v<n>`. */
  readonly table: string;
}

export interface TypedColumn {
  readonly name: string;
  readonly type: ValueType;
}

export interface Service {
  readonly definition: ServiceDefinition;
  /** Its references with the versions it keeps (resolved when first published). */
  readonly resolved: readonly Required<FeatureReference>[];
}

/** The registry at one version. Immutable: a publish makes a new one. */
export interface RegistrySnapshot {
  readonly registryVersion: number;
  readonly entities: ReadonlyMap<string, EntityDefinition>;
  /** View name → its versions by number. */
  readonly views: ReadonlyMap<string, ReadonlyMap<number, ViewVersion>>;
  readonly services: ReadonlyMap<string, Service>;
  /** Training sets that stand, for the guard of removals: what each one reads. */
  readonly trainingSets: readonly { name: string; version: number; features: readonly Required<FeatureReference>[] }[];
}
