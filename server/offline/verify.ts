import { join } from 'node:path';
import type { VerifyAnswer } from '../../contract/api';
import type { Db } from '../postgres/connect';
import { bareTable } from '../postgres/identifiers';
import type { HashedFiles } from './hashedFiles';
import type { BadFile, WorkerCalls } from './protocol';
import { allTrainingSets, type TrainingSetRecord } from './trainingSetRecords';

/**
 * Re-hashes every stored file: the lake's (history and datasets, older snapshots' too) by the worker, the training sets' here.
 * Each bad one is named with its table, snapshot, and the training sets that it touches.
 */
export async function verifyFiles(
  db: Db,
  dataDir: string,
  lake: WorkerCalls['verifyLake']['answer'],
  files: HashedFiles,
  incremental: boolean,
): Promise<VerifyAnswer> {
  const sets = await allTrainingSets(db);
  const answer: VerifyAnswer = {
    checked: lake.checked,
    bytes: lake.bytes,
    bad: lake.bad.map((bad) => ({ ...bad, trainingSets: sets.filter((set) => reads(set, bad)).map(nameOf) })),
  };
  for (const set of sets) {
    for (const { file, sha256 } of set.info.files) {
      const { verdict, bytes } = await files.check(join(dataDir, file), sha256, incremental);
      answer.checked++;
      answer.bytes += bytes;
      if (verdict === 'same') continue;
      const { name, version, snapshot } = set.info;
      answer.bad.push({
        file,
        table: `training/${name}/v${version}`,
        snapshot,
        trainingSets: [{ name, version }],
        problem: verdict,
      });
    }
  }
  return answer;
}

function nameOf({ info }: TrainingSetRecord): { name: string; version: number } {
  return { name: info.name, version: info.version };
}

/** Whether a set was built from a table when the file was in it. */
function reads(set: TrainingSetRecord, bad: BadFile): boolean {
  if (bad.snapshot !== null && set.info.snapshot !== null && set.info.snapshot < bad.snapshot) return false;
  return (
    set.features.some(({ view, version }) => bareTable(view, version) === bad.table) ||
    (set.spine !== undefined && `datasets.${set.spine.dataset}` === bad.table)
  );
}
