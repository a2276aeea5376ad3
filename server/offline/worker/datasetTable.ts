import type { Column } from '../../../contract/api';
import { parseValueType } from '../../../contract/valueTypes';
import { quoteName } from '../../postgres/identifiers';
import type { DatasetRef } from '../protocol';
import { lakeTable } from './lake';
import { toPlain } from './lakeTypes';

/** Ours, first in each dataset's table and hidden from users: the row's number from 0, because a lake promises no order. */
export const ROW_COLUMN = '__loft_row';

/** FROM … of a dataset as it was at a snapshot, in no order. */
export function datasetAt(ref: DatasetRef): string {
  return `${lakeTable('datasets', ref.dataset)} AT (VERSION => ${Math.trunc(ref.snapshot)})`;
}

/** A SELECT of these columns in plain forms (lakeTypes.ts). */
export function plainSelect(columns: readonly Column[], from: string): string {
  const list = columns.map((column) => toPlain(parseValueType(column.type), quoteName(column.name)));
  return `SELECT ${list.join(', ')} FROM ${from}`;
}
