import type { Cell } from '../../../contract/cells';
import { LoftError, type Problem } from '../../../contract/errors';
import { formatValueType } from '../../../contract/valueTypes';
import type { ViewVersion } from '../../registry/snapshot';
import { BatchBuilder, writeColumns } from '../cellBatch';
import { lines } from './lines';
import { isRequired, missingValue } from './rowCells';
import type { Bytes, RowSource } from './rowSource';
import type { WorkerPlan } from './sourceMapping';

/**
 * The worker's answer to `toCells`: one JSON list of canonical cells a line, in the order of the plan's columns, or the
 * problems of a row whose values do not fit. Throws
 * LoftError 409 `view_changed` when the view has other columns by now than those the cells were made for.
 */
export function workerRows(bytes: Bytes, plan: WorkerPlan): RowSource {
  return async function* (view, problems) {
    const columns = writeColumns(view);
    const targets = targetsOf(plan, view);
    const required = columns.list.flatMap((column, index) => (isRequired(column) ? [{ column, index }] : []));
    const builder = new BatchBuilder(columns.list.length);
    let row = -1;
    for await (const some of lines(bytes)) {
      for (const line of some) {
        row++;
        const given = JSON.parse(line) as Cell[] | { problems: Omit<Problem, 'row'>[] };
        if (!Array.isArray(given)) {
          for (const problem of given.problems) problems.add(row, problem);
          continue;
        }
        const cells = new Array<Cell>(columns.list.length).fill(null);
        for (const [at, target] of targets.entries()) cells[target] = given[at] ?? null;
        const missing = required.filter(({ index }) => cells[index] === null);
        for (const { column } of missing) problems.add(row, missingValue(column, 'null'));
        if (missing.length === 0 && builder.add(row, cells)) yield builder.take();
      }
    }
    if (!builder.isEmpty) yield builder.take();
  };
}

function targetsOf(plan: WorkerPlan, view: ViewVersion): number[] {
  const columns = writeColumns(view);
  return plan.names.map((name, at) => {
    const index = columns.indexByName.get(name);
    const column = index === undefined ? undefined : columns.list[index];
    if (index === undefined || column === undefined || formatValueType(column.type) !== plan.columns[at]?.type) {
      throw new LoftError(
        409,
        'view_changed',
        `${view.name} was changed while its rows were being read (${name} is another column now). Nothing was written; send the rows again.`,
      );
    }
    return index;
  });
}
