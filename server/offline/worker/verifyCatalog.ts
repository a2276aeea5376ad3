import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { systemCode } from '../../fileErrors';
import { quoteName } from '../../postgres/identifiers';
import type { BadFile } from '../protocol';
import { underRoot } from './dataFiles';
import { lacksRoom } from './failures';
import { Session, type Lake } from './lake';

/**
 * Reads the catalog's file as a stranger would: DuckDB keeps a checksum of every block, but looks at it only when it reads the
 * block, and the open catalog stands in memory. A copy is opened and every row of it compared with what is open.
 */
export function verifyCatalog(lake: Lake): Promise<BadFile[]> {
  const { catalog } = lake.location;
  const bad: BadFile = { file: underRoot(lake, catalog), table: 'catalog', snapshot: null, problem: 'changed' };
  return lake.betweenWrites(async (open) => {
    const folder = await mkdtemp(join(lake.dataDir, 'tmp', 'catalog-'));
    try {
      const copy = join(folder, 'catalog.ducklake');
      await copyFile(catalog, copy);
      await copyFile(`${catalog}.wal`, `${copy}.wal`).catch(ignoreMissing);
      const same = await isSame(copy, open).catch((error: unknown) => {
        // A block that can't be read throws; a lack of memory or disk does too, and says nothing about the catalog.
        if (lacksRoom(error)) throw error;
        return false;
      });
      return same ? [] : [bad];
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return [{ ...bad, problem: 'missing' as const }];
      throw error;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

function ignoreMissing(error: unknown): void {
  if (systemCode(error) !== 'ENOENT') throw error;
}

/** Throws when a block can't be read. The open catalog is hidden from DuckDB's lists, so its tables are those of the copy. */
async function isSame(file: string, open: Session): Promise<boolean> {
  const instance = await DuckDBInstance.create(file, { threads: '1', memory_limit: '500MB' });
  try {
    const copy = new Session(await instance.connect());
    try {
      const tables = await copy.rows('SELECT table_name FROM duckdb_tables() ORDER BY ALL');
      for (const { table_name: table } of tables) {
        const name = quoteName(String(table));
        if ((await fingerprint(copy, name)) !== (await fingerprint(open, `__ducklake_metadata_lake.${name}`)))
          return false;
      }
      return tables.length > 0;
    } finally {
      copy.close();
    }
  } finally {
    instance.closeSync();
  }
}

async function fingerprint(session: Session, table: string): Promise<string> {
  const { n, rows } = await session.row(`SELECT count(*) AS n, bit_xor(hash(t)) AS rows FROM ${table} t`);
  return `${String(n)} ${String(rows)}`;
}
