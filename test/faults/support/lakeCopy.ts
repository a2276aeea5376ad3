import { copyFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance, type DuckDBValue } from '@duckdb/node-api';
import { findExtension } from '../../../server/offline/extensions';

/**
 * Asks the lake of a data folder whose gateway has ended, past all of our code: its Parquet files, through a copy of its
 * catalog. Whole numbers come as bigint.
 */
export async function askLake(dataDir: string, statements: string[]): Promise<Record<string, DuckDBValue>[][]> {
  const copy = await mkdtemp(join(tmpdir(), 'loft-lake-'));
  const instance = await DuckDBInstance.create(':memory:', { threads: '2' });
  const connection = await instance.connect();
  try {
    for (const name of await readdir(join(dataDir, 'lake'))) {
      if (name.startsWith('catalog.ducklake')) await copyFile(join(dataDir, 'lake', name), join(copy, name));
    }
    await connection.run(`LOAD '${findExtension('ducklake')}'`);
    await connection.run(`SET TimeZone = 'UTC'`);
    await connection.run(
      `ATTACH 'ducklake:${join(copy, 'catalog.ducklake')}' AS lake
       (DATA_PATH '${join(dataDir, 'lake', 'data')}', OVERRIDE_DATA_PATH true)`,
    );
    const answers: Record<string, DuckDBValue>[][] = [];
    for (const statement of statements) {
      answers.push((await connection.runAndReadAll(statement)).getRowObjects());
    }
    return answers;
  } finally {
    connection.closeSync();
    instance.closeSync();
    await rm(copy, { recursive: true, force: true });
  }
}
