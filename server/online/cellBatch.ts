import type { Cell } from '../../contract/cells';
import { parseValueType } from '../../contract/valueTypes';
import type { TypedColumn, ViewVersion } from '../registry/snapshot';

/** What a written column is to its row; only features may be null, and `created` stands for the database's clock then. */
export type Role = 'key' | 'feature' | 'event' | 'created';
export interface WriteColumn extends TypedColumn {
  readonly role: Role;
}

/** The columns that a writer of a view may give, in the order of a batch's columns: keys, features, the two times. */
export interface WriteColumns {
  readonly list: readonly WriteColumn[];
  readonly indexByName: ReadonlyMap<string, number>;
  readonly event: number;
  readonly created: number;
}

const timestamp = parseValueType('timestamp');
const known = new WeakMap<ViewVersion, WriteColumns>();

export function writeColumns(view: ViewVersion): WriteColumns {
  let columns = known.get(view);
  if (columns === undefined) {
    const list: WriteColumn[] = [
      ...view.keys.map((key): WriteColumn => ({ ...key, role: 'key' })),
      ...view.features.map((feature): WriteColumn => ({ ...feature, role: 'feature' })),
      { name: 'event_timestamp', type: timestamp, role: 'event' },
      { name: 'created_timestamp', type: timestamp, role: 'created' },
    ];
    const indexByName = new Map(list.map((column, index) => [column.name, index]));
    columns = { list, indexByName, event: list.length - 2, created: list.length - 1 };
    known.set(view, columns);
  }
  return columns;
}

/** Rows of one view, column by column, checked: keys and event times are there, every cell is its type's canonical text. */
export interface CellBatch {
  /** Each row's number in the request, from 0. */
  readonly rows: readonly number[];
  /** In the order of `writeColumns`; each as long as `rows`. */
  readonly columns: readonly (readonly Cell[])[];
  /** UTF-16 units of all cells: what the batch takes in memory, roughly. */
  readonly size: number;
}

/** So that a batch is neither many round trips nor much memory. */
const FULL_ROWS = 4_096;
const FULL_SIZE = 4 * 1024 * 1024;

/** Gathers rows into batches. */
export class BatchBuilder {
  private rows: number[] = [];
  private columns: Cell[][];
  private size = 0;

  constructor(private readonly width: number) {
    this.columns = emptyColumns(width);
  }

  get isEmpty(): boolean {
    return this.rows.length === 0;
  }

  /** True when the batch is full and should be taken. */
  add(row: number, cells: readonly Cell[]): boolean {
    this.rows.push(row);
    for (let index = 0; index < this.width; index++) {
      const cell = cells[index] ?? null;
      this.columns[index]?.push(cell);
      if (cell !== null) this.size += cell.length;
    }
    return this.rows.length >= FULL_ROWS || this.size >= FULL_SIZE;
  }

  take(): CellBatch {
    const batch = { rows: this.rows, columns: this.columns, size: this.size };
    this.rows = [];
    this.columns = emptyColumns(this.width);
    this.size = 0;
    return batch;
  }
}

function emptyColumns(width: number): Cell[][] {
  return Array.from({ length: width }, () => []);
}

/** The batch without the rows at these positions. */
export function withoutRows(batch: CellBatch, dropped: ReadonlySet<number>): CellBatch {
  if (dropped.size === 0) return batch;
  const keep = <Item>(_: Item, position: number): boolean => !dropped.has(position);
  const columns = batch.columns.map((column) => column.filter(keep));
  const size = columns.reduce((sum, column) => column.reduce((inner, cell) => inner + (cell?.length ?? 0), sum), 0);
  return { rows: batch.rows.filter(keep), columns, size };
}

/** One batch of several, in their order. */
export function joinBatches(batches: readonly CellBatch[], width: number): CellBatch {
  const [first] = batches;
  if (batches.length === 1 && first !== undefined) return first;
  return {
    rows: batches.flatMap((batch) => [...batch.rows]),
    columns: Array.from({ length: width }, (_, index) => batches.flatMap((batch) => [...(batch.columns[index] ?? [])])),
    size: batches.reduce((sum, batch) => sum + batch.size, 0),
  };
}
