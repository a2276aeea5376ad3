import { relative, sep } from 'node:path';
import { listValue } from '@duckdb/node-api';
import type { StoredFile } from '../../../contract/api';
import { hashFile } from '../hashFile';
import { lakeTable, type Lake, type Session } from './lake';

/** A path as answers and records name it: relative to the data root, with `/`. */
export function underRoot(lake: Lake, path: string): string {
  return relative(lake.dataDir, path).split(sep).join('/');
}

/** As `loft.file_hashes` names a file: relative to the lake's data path, so that a folder can be moved. */
function underDataPath(lake: Lake, path: string): string {
  return relative(lake.location.dataPath, path).split(sep).join('/');
}

/**
 * Hashes and records the files that this transaction has written to a table, and answers all of the table's files in `where`.
 * `where` keeps the listing from reading all files of a large table: DuckLake prunes by it.
 */
export async function recordNewFiles(
  lake: Lake,
  session: Session,
  schema: 'main' | 'datasets',
  table: string,
  where = '',
): Promise<StoredFile[]> {
  const listed = await session.rows(`SELECT DISTINCT filename FROM ${lakeTable(schema, table)} ${where}`);
  const paths = listed.map((row) => String(row['filename'])).sort();
  if (paths.length === 0) return [];
  const known = new Map<string, StoredFile>();
  for (const row of await session.rows(
    'SELECT file, sha256, bytes FROM lake.loft.file_hashes WHERE list_contains($1, file)',
    [listValue(paths.map((path) => underDataPath(lake, path)))],
  )) {
    const file = String(row['file']);
    known.set(file, { file, sha256: String(row['sha256']), bytes: Number(row['bytes']) });
  }
  const files: StoredFile[] = [];
  for (const path of paths) {
    const name = underDataPath(lake, path);
    let stored = known.get(name);
    if (!stored) {
      stored = { file: name, ...(await hashFile(path)) };
      await session.run('INSERT INTO lake.loft.file_hashes VALUES ($1, $2, $3)', [
        stored.file,
        stored.sha256,
        BigInt(stored.bytes),
      ]);
    }
    files.push({ ...stored, file: underRoot(lake, path) });
  }
  return files;
}
