import { LoftError } from '../../../contract/errors';
import type { WorkerFailure } from '../protocol';
import { parquetError } from './stageParquet';

const outOfMemory = /^Out of Memory Error|failed to allocate|could not allocate/i;
const diskFull = /no space left|ENOSPC|disk is full|max_temp_directory_size/i;

/** Whether the machine, and not what was read, is at fault. */
export function lacksRoom(error: unknown): boolean {
  const message = error instanceof Error ? error.message : String(error);
  return outOfMemory.test(message) || diskFull.test(message);
}

/** An error as it crosses to the gateway. DuckDB's own words name SQL, so they go to the worker's log and not into an answer. */
export function failureOf(error: unknown): WorkerFailure {
  const known = parquetError(error);
  if (known instanceof LoftError) {
    const { status, code, detail, problems } = known;
    return { status, code, detail, problems };
  }
  const message = known instanceof Error ? known.message : String(known);
  process.stderr.write(`${known instanceof Error ? (known.stack ?? message) : message}\n`);
  if (outOfMemory.test(message)) {
    return {
      status: 503,
      code: 'offline_out_of_memory',
      detail:
        'The offline worker ran out of its memory limit. Ask for fewer columns or rows at once, or raise FEATURELOFT_WORKER_MEMORY.',
    };
  }
  if (diskFull.test(message)) {
    return {
      status: 503,
      code: 'offline_disk_full',
      detail: 'The disk of the data folder is full. Nothing was stored; free some space and try again.',
    };
  }
  if (/Conflicting lock is held|Could not set lock/i.test(message)) {
    return {
      status: 409,
      code: 'lake_in_use',
      detail: 'Another process has the lake’s catalog open. Close it (a notebook or a second gateway) and try again.',
    };
  }
  return {
    status: 500,
    code: 'offline_failed',
    detail: 'The offline worker could not do this, and nothing was stored. Its log (logs/worker.log) says why.',
  };
}
