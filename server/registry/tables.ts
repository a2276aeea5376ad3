import { columnType } from '../postgres/columnTypes';
import { bareTable, featureTable, quoteName } from '../postgres/identifiers';
import type { TypedColumn, ViewVersion } from './snapshot';

/**
 * Room on each page keeps updates of a row on its page without touching the index (HOT): an online table is updated far
 * more than it grows. Vacuum comes early, because every update leaves a dead row.
 */
const STORAGE = 'fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05';

/** The table of one view version: keys, features, the triple; one row an entity. */
export function createTable(view: Pick<ViewVersion, 'name' | 'version' | 'keys' | 'features'>): string {
  const columns = [
    ...view.keys.map((key) => `${quoteName(key.name)} ${columnType(key.type, 'key')} NOT NULL`),
    ...view.features.map((feature) => `${quoteName(feature.name)} ${columnType(feature.type)}`),
    '"event_timestamp" timestamptz NOT NULL',
    '"created_timestamp" timestamptz NOT NULL',
    '"write_seq" bigint NOT NULL',
    `PRIMARY KEY (${view.keys.map((key) => quoteName(key.name)).join(', ')})`,
  ];
  return `CREATE TABLE ${featureTable(view.name, view.version)} (\n  ${columns.join(',\n  ')}\n) WITH (${STORAGE})`;
}

/** Nullable and without a default, so that no row is rewritten. */
export function addColumns(view: string, version: number, columns: readonly TypedColumn[]): string {
  const added = columns.map((column) => `ADD COLUMN ${quoteName(column.name)} ${columnType(column.type)}`);
  return `ALTER TABLE ${featureTable(view, version)}\n  ${added.join(',\n  ')}`;
}

/** Removed tables rest in schema trash, named after the registry version that removed them. */
export function trashTable(view: string, version: number, registryVersion: number): string[] {
  const table = bareTable(view, version);
  return [
    `ALTER TABLE ${featureTable(view, version)} SET SCHEMA "trash"`,
    `ALTER TABLE "trash".${quoteName(table)} RENAME TO ${quoteName(`${table}_${registryVersion}`)}`,
  ];
}
