import { join } from 'node:path';
import { HashedFiles } from '../hashedFiles';
import type { BadFile, WorkerCalls } from '../protocol';
import { underRoot } from './dataFiles';
import type { Lake, Session } from './lake';
import { verifyCatalog } from './verifyCatalog';

const files = new HashedFiles();

/** Re-hashes every data file that the catalog names, older snapshots' too, against the hash recorded when it was committed. */
export async function verifyLake(
  lake: Lake,
  { incremental }: WorkerCalls['verifyLake']['request'],
): Promise<WorkerCalls['verifyLake']['answer']> {
  const named = await lake.read(namedFiles);
  const recorded = await lake.read(recordedHashes);
  const bad: BadFile[] = [];
  let bytes = 0;
  for (const { file, table, snapshot } of named) {
    const path = join(lake.location.dataPath, file);
    const found = await files.check(path, recorded.get(file), incremental);
    bytes += found.bytes;
    if (found.verdict !== 'same') bad.push({ file: underRoot(lake, path), table, snapshot, problem: found.verdict });
  }
  return { checked: named.length + 1, bytes, bad: [...(await verifyCatalog(lake)), ...bad] };
}

async function namedFiles(session: Session): Promise<{ file: string; table: string; snapshot: number }[]> {
  const rows = await session.rows(
    `SELECT s.schema_name, t.table_name, f.begin_snapshot, f.path_is_relative,
       CASE WHEN f.path_is_relative THEN concat(s.path, t.path, f.path) ELSE f.path END AS path
     FROM __ducklake_metadata_lake.ducklake_data_file f
     JOIN (SELECT DISTINCT ON (table_id) * FROM __ducklake_metadata_lake.ducklake_table ORDER BY table_id, begin_snapshot DESC) t USING (table_id)
     JOIN (SELECT DISTINCT ON (schema_id) * FROM __ducklake_metadata_lake.ducklake_schema ORDER BY schema_id, begin_snapshot DESC) s USING (schema_id)
     ORDER BY f.data_file_id`,
  );
  return rows.map((row) => ({
    file: String(row['path']),
    table:
      row['schema_name'] === 'main'
        ? String(row['table_name'])
        : `${String(row['schema_name'])}.${String(row['table_name'])}`,
    snapshot: Number(row['begin_snapshot']),
  }));
}

async function recordedHashes(session: Session): Promise<Map<string, string>> {
  const rows = await session.rows('SELECT file, sha256 FROM lake.loft.file_hashes');
  return new Map(rows.map((row) => [String(row['file']), String(row['sha256'])]));
}
