import type { TrainingSetInfo } from '../../contract/api';
import { LoftError } from '../../contract/errors';
import { parseJson, printJson } from '../../contract/json';
import type { FeatureReference } from '../../contract/references';
import { appendChange } from '../changes/changeLog';
import { timestampCell } from '../postgres/columnTypes';
import type { Db } from '../postgres/connect';
import { inTransaction } from '../postgres/transaction';
import { didYouMean } from '../registry/nearNames';
import { pageOf, type PageOf, type PageRequest } from './page';

/** The records of training sets in Postgres. */

/** Which dataset a spine came from; undefined for a spine of rows. Not part of the id: the spine's content is. */
export interface SpineOrigin {
  dataset: string;
  version: number;
}

export interface TrainingSetRecord {
  info: TrainingSetInfo;
  features: Required<FeatureReference>[];
  spine: SpineOrigin | undefined;
}

interface Row {
  info: string;
  features: string;
  created_at: string;
}

function recordOf(row: Row): TrainingSetRecord {
  const { spine, ...info } = parseJson(row.info) as unknown as Omit<TrainingSetInfo, 'createdAt'> & {
    spine?: SpineOrigin;
  };
  return {
    info: { ...info, createdAt: timestampCell(row.created_at) },
    features: parseJson(row.features) as unknown as Required<FeatureReference>[],
    spine,
  };
}

/** The newest version, or that one. Throws 404 `unknown_training_set` or `unknown_version`. */
export async function findTrainingSet(db: Db, name: string, version?: number): Promise<TrainingSetInfo> {
  const { rows } = await db.query<Row & Record<string, unknown>>(
    `SELECT info, features, created_at FROM registry.training_sets
     WHERE name = $1 AND ($2::bigint IS NULL OR version = $2) ORDER BY version DESC LIMIT 1`,
    // NUL is in no name, and Postgres takes it in no text.
    [name.replaceAll('\0', '\ufffd'), version ?? null],
  );
  if (rows[0]) return recordOf(rows[0]).info;
  const { rows: all } = await db.query<{ name: string; version: string }>(
    'SELECT name, max(version) AS version FROM registry.training_sets GROUP BY name',
  );
  const newest = all.find((row) => row.name === name);
  if (newest) {
    throw new LoftError(
      404,
      'unknown_version',
      `Training set ${name} has no version ${version}; the newest is ${newest.version}.`,
    );
  }
  throw new LoftError(
    404,
    'unknown_training_set',
    `There is no training set ${name}.${didYouMean(
      name,
      all.map((row) => row.name),
    )}`,
  );
}

/** Newest version of each, by name. */
export async function listTrainingSets(db: Db, page: PageRequest): Promise<PageOf<TrainingSetInfo>> {
  const { rows } = await db.query<Row & Record<string, unknown>>(
    `SELECT DISTINCT ON (name) info, features, created_at FROM registry.training_sets WHERE name > $1
     ORDER BY name, version DESC LIMIT $2`,
    [page.cursor ?? '', page.limit + 1],
  );
  return pageOf(
    rows.map((row) => recordOf(row).info),
    page.limit,
    (set) => set.name,
  );
}

export async function allTrainingSets(db: Db): Promise<TrainingSetRecord[]> {
  const { rows } = await db.query<Row & Record<string, unknown>>(
    'SELECT info, features, created_at FROM registry.training_sets ORDER BY name, version',
  );
  return rows.map(recordOf);
}

/** The version of this name that has this id already. */
export async function standingTrainingSet(db: Db, name: string, id: string): Promise<TrainingSetInfo | undefined> {
  const { rows } = await db.query<Row & Record<string, unknown>>(
    'SELECT info, features, created_at FROM registry.training_sets WHERE name = $1 AND id = $2',
    [name, id],
  );
  return rows[0] && recordOf(rows[0]).info;
}

export async function nextVersion(db: Db, name: string): Promise<number> {
  const { rows } = await db.query<{ next: string }>(
    'SELECT coalesce(max(version), 0) + 1 AS next FROM registry.training_sets WHERE name = $1',
    [name],
  );
  return Number(rows[0]?.next ?? 1);
}

/**
 * Records a training set whose file is in place, under the registry's lock: what it reads may not have been removed
 * meanwhile (409 `view_removed`), and from now on its removal is guarded.
 */
export function recordTrainingSet(
  db: Db,
  info: Omit<TrainingSetInfo, 'createdAt'>,
  features: readonly Required<FeatureReference>[],
  spine: SpineOrigin | undefined,
): Promise<TrainingSetInfo> {
  return inTransaction(db, async (client) => {
    const { rows: head } = await client.query<{ registry_version: string }>(
      'SELECT registry_version FROM registry.head FOR UPDATE',
    );
    const { rows: gone } = await client.query<{ view: string; version: string }>(
      `SELECT DISTINCT u.view, u.version FROM unnest($1::text[], $2::int[]) AS u(view, version)
       LEFT JOIN registry.view_versions v ON v.view = u.view AND v.version = u.version WHERE v.view IS NULL`,
      [features.map((feature) => feature.view), features.map((feature) => feature.version)],
    );
    if (gone[0]) {
      throw new LoftError(
        409,
        'view_removed',
        `View ${gone[0].view} (version ${gone[0].version}) was removed while the training set was being built. Nothing was stored.`,
      );
    }
    const { rows } = await client.query<Row & Record<string, unknown>>(
      `INSERT INTO registry.training_sets (name, version, id, info, features) VALUES ($1, $2, $3, $4, $5)
       RETURNING info, features, created_at`,
      [info.name, info.version, info.id, printJson({ ...info, spine }), printJson(features)],
    );
    if (rows[0] === undefined) throw new Error('the training set was not recorded');
    await appendChange(client, {
      registryVersion: Number(head[0]?.registry_version ?? 0),
      changes: [
        {
          kind: 'training_set',
          name: info.name,
          version: info.version,
          action: info.version === 1 ? 'create' : 'update',
        },
      ],
    });
    return recordOf(rows[0]).info;
  });
}
