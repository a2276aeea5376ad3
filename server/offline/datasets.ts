import type { DatasetInfo, DatasetVersion, StoredFile } from '../../contract/api';
import type { Column, Statistics } from '../../contract/api';
import { cellToJson, type Cell } from '../../contract/cells';
import { LoftError } from '../../contract/errors';
import { parseJson, printJson, RawJson } from '../../contract/json';
import { nameProblem } from '../../contract/names';
import { parseValueType } from '../../contract/valueTypes';
import { appendChange } from '../changes/changeLog';
import { timestampCell } from '../postgres/columnTypes';
import type { Db } from '../postgres/connect';
import { inTransaction } from '../postgres/transaction';
import { didYouMean } from '../registry/nearNames';
import { pageOf, type PageOf, type PageRequest } from './page';
import type { CellStatistics, DatasetRef, StoredDataset, WorkerCalls } from './protocol';

/** The records of datasets in Postgres: what each version is, and what a user is told of it. */

interface DatasetRow {
  name: string;
  version: string;
  rows: string;
  sha256: string;
  mode: string;
  snapshot: string;
  columns: string;
  files: string;
  created_at: string;
}

const COLUMNS = 'name, version, rows, sha256, mode, snapshot, columns, files, created_at';

function versionOf(row: DatasetRow): DatasetVersion {
  return {
    name: row.name,
    version: Number(row.version),
    rows: Number(row.rows),
    sha256: row.sha256,
    mode: row.mode === 'append' ? 'append' : 'replace',
    snapshot: Number(row.snapshot),
    columns: parseJson(row.columns) as unknown as Column[],
    files: parseJson(row.files) as unknown as StoredFile[],
    createdAt: timestampCell(row.created_at),
  };
}

export function refOf(dataset: DatasetVersion): DatasetRef {
  return { dataset: dataset.name, snapshot: dataset.snapshot, columns: dataset.columns };
}

/** Throws 422 `bad_name`. */
export function checkDatasetName(name: string): void {
  const expected = nameProblem(name, 'dataset');
  if (expected === undefined) return;
  throw new LoftError(422, 'bad_name', expected, {
    problems: [{ path: 'name', code: 'bad_name', found: JSON.stringify(name), expected }],
  });
}

/** The newest version, or that one. Throws 404 `unknown_dataset` or `unknown_version`. */
export async function findDataset(db: Db, name: string, version?: number): Promise<DatasetVersion> {
  const found = await newestDataset(db, name, version);
  if (found) return found;
  const { rows } = await db.query<{ name: string; version: string }>(
    'SELECT name, max(version) AS version FROM registry.datasets GROUP BY name',
  );
  const newest = rows.find((row) => row.name === name);
  if (newest) {
    throw new LoftError(
      404,
      'unknown_version',
      `Dataset ${name} has no version ${version}; the newest is ${newest.version}.`,
    );
  }
  throw new LoftError(
    404,
    'unknown_dataset',
    `There is no dataset ${name}.${didYouMean(
      name,
      rows.map((row) => row.name),
    )}`,
  );
}

export async function newestDataset(db: Db, name: string, version?: number): Promise<DatasetVersion | undefined> {
  if (name.includes('\0')) return undefined; // is in no name, and Postgres takes it in no text
  const { rows } = await db.query<DatasetRow>(
    `SELECT ${COLUMNS} FROM registry.datasets WHERE name = $1 AND ($2::bigint IS NULL OR version = $2)
     ORDER BY version DESC LIMIT 1`,
    [name, version ?? null],
  );
  return rows[0] && versionOf(rows[0]);
}

/** Newest version of each, by name. */
export async function listDatasets(db: Db, page: PageRequest): Promise<PageOf<DatasetVersion>> {
  const { rows } = await db.query<DatasetRow>(
    `SELECT DISTINCT ON (name) ${COLUMNS} FROM registry.datasets WHERE name > $1
     ORDER BY name, version DESC LIMIT $2`,
    [page.cursor ?? '', page.limit + 1],
  );
  return pageOf(rows.map(versionOf), page.limit, (dataset) => dataset.name);
}

export async function datasetVersions(db: Db, name: string): Promise<DatasetInfo['versions']> {
  const { rows } = await db.query<{ version: string; rows: string; created_at: string }>(
    'SELECT version, rows, created_at FROM registry.datasets WHERE name = $1 ORDER BY version DESC',
    [name],
  );
  return rows.map((row) => ({
    version: Number(row.version),
    rows: Number(row.rows),
    createdAt: timestampCell(row.created_at),
  }));
}

/** Records what the lake has stored as the dataset's next version, and tells the change log. */
export function recordDataset(
  db: Db,
  name: string,
  mode: 'replace' | 'append',
  stored: StoredDataset,
): Promise<DatasetVersion> {
  return inTransaction(db, async (client) => {
    const { rows: head } = await client.query<{ registry_version: string }>(
      'SELECT registry_version FROM registry.head FOR UPDATE',
    );
    const { rows } = await client.query<DatasetRow>(
      `INSERT INTO registry.datasets (name, version, rows, sha256, mode, snapshot, columns, files)
       SELECT $1, coalesce(max(version), 0) + 1, $2, $3, $4, $5, $6, $7 FROM registry.datasets WHERE name = $1
       RETURNING ${COLUMNS}`,
      [name, stored.rows, stored.sha256, mode, stored.snapshot, printJson(stored.columns), printJson(stored.files)],
    );
    if (rows[0] === undefined) throw new Error('the dataset was not recorded');
    const version = versionOf(rows[0]);
    await appendChange(client, {
      registryVersion: Number(head[0]?.registry_version ?? 0),
      changes: [
        { kind: 'dataset', name, version: version.version, action: version.version === 1 ? 'create' : 'update' },
      ],
    });
    return version;
  });
}

type Described = WorkerCalls['describeDataset']['answer'];

/** What the worker found, with JSON values in place of cells. */
export function describedJson(
  dataset: DatasetVersion,
  described: Described,
  computedAt: string,
): Pick<DatasetInfo, 'statistics' | 'preview' | 'inference'> {
  const types = new Map(dataset.columns.map((column) => [column.name, column.type]));
  const json = (name: string, cell: Cell): unknown => valueJson(types.get(name) ?? 'string', cell);
  const statistics = described.statistics.map(([name, of]): [string, Statistics] => [
    name,
    { ...statisticsJson(types.get(name) ?? 'string', of), computedAt, snapshot: dataset.snapshot },
  ]);
  return {
    statistics: objectOf(statistics),
    preview: described.preview.map((cells) =>
      objectOf(dataset.columns.map(({ name }, index): [string, unknown] => [name, json(name, cells[index] ?? null)])),
    ),
    inference: {
      ...described.inference,
      columns: described.inference.columns.map((column) => ({
        ...column,
        samples: column.samples.map((cell) => json(column.name, cell)),
      })),
    },
  };
}

function statisticsJson(type: string, of: CellStatistics): Omit<Statistics, 'computedAt'> {
  const { min, max, top, ...rest } = of;
  return {
    ...rest,
    ...(min === undefined ? {} : { min: valueJson(type, min) }),
    ...(max === undefined ? {} : { max: valueJson(type, max) }),
    ...(top === undefined ? {} : { top: top.map(({ value, count }) => ({ value: valueJson(type, value), count })) }),
  };
}

function valueJson(type: string, cell: Cell): unknown {
  return cell === null ? null : new RawJson(cellToJson(parseValueType(type), cell));
}

/** Members are own properties whatever their names: a file may have a column `__proto__`. */
function objectOf<Value>(entries: readonly [string, Value][]): Record<string, Value> {
  return Object.assign(Object.create(null) as Record<string, Value>, Object.fromEntries(entries));
}
