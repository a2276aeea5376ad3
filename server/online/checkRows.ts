import { withoutRows, type CellBatch } from './cellBatch';
import type { RowProblems } from './decode/problems';
import { MAX_ROW_BYTES } from './decode/rowSource';
import { chunkLine } from './outboxChunk';
import { checksOf, ruleProblem, type Check } from './rules';
import type { ViewVersion } from '../registry/snapshot';

/** The batch without the rows that are too large or break a rule which rejects. */
export function rejectRows(view: ViewVersion, batch: CellBatch, problems: RowProblems): CellBatch {
  const checks = checksOf(view).filter((check) => check.on === 'reject');
  const bad = new Set<number>();
  // In JSON a UTF-16 unit becomes six bytes at most.
  const mayBeLarge = batch.size * 6 > MAX_ROW_BYTES;
  if (checks.length === 0 && !mayBeLarge) return batch;
  for (const [position, row] of batch.rows.entries()) {
    for (const check of brokenChecks(checks, batch, position)) {
      problems.add(row, ruleProblem(check, batch.columns[check.column]?.[position] ?? null));
      bad.add(position);
    }
    if (!mayBeLarge || rowSize(batch, position) * 6 <= MAX_ROW_BYTES) continue;
    const bytes = Buffer.byteLength(chunkLine(batch, position, 0));
    if (bytes <= MAX_ROW_BYTES) continue;
    problems.add(row, {
      code: 'row_too_large',
      found: `${bytes} bytes`,
      expected: `at most ${MAX_ROW_BYTES} bytes a row`,
    });
    bad.add(position);
  }
  return withoutRows(batch, bad);
}

/** Counts the rows that break a rule which only warns; `warnings` lists them. */
export function countWarned(view: ViewVersion, batch: CellBatch, warnings: RowProblems): number {
  const checks = checksOf(view).filter((check) => check.on === 'warn');
  if (checks.length === 0) return 0;
  let warned = 0;
  for (const [position, row] of batch.rows.entries()) {
    const broken = brokenChecks(checks, batch, position);
    if (broken.length > 0) warned++;
    for (const check of broken) warnings.add(row, ruleProblem(check, batch.columns[check.column]?.[position] ?? null));
  }
  return warned;
}

function rowSize(batch: CellBatch, position: number): number {
  return batch.columns.reduce((sum, column) => sum + (column[position]?.length ?? 0), 0);
}

function brokenChecks(checks: readonly Check[], batch: CellBatch, position: number): Check[] {
  return checks.filter((check) => !check.holds(batch.columns[check.column]?.[position] ?? null));
}
