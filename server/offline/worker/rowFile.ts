import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { Column } from '../../../contract/api';
import { cellToJson, type Cell } from '../../../contract/cells';
import { parseValueType, type ValueType } from '../../../contract/valueTypes';
import { quoteName } from '../../postgres/identifiers';
import type { FileFormat } from '../protocol';
import { plainSelect } from './datasetTable';
import { quoteText, type Session } from './lake';
import { cellOfPlain, chunkColumns } from './plainValues';

/** The fixed form of stored Parquet: with rows in a unique order, the same rows are the same bytes on any number of threads. */
export const PARQUET_OPTIONS = "FORMAT parquet, COMPRESSION 'snappy', ROW_GROUP_SIZE 122880, PARQUET_VERSION 'V1'";

const BATCH_CHARACTERS = 262_144;

/** Writes rows to a new file. `from` is what comes after FROM, its order included. Answers how many rows there are. */
export async function writeRows(
  session: Session,
  columns: readonly Column[],
  from: string,
  format: FileFormat,
  target: string,
): Promise<number> {
  if (format === 'parquet') {
    const list = columns.map((column) => quoteName(column.name)).join(', ');
    return session.count(`COPY (SELECT ${list} FROM ${from}) TO ${quoteText(target)} (${PARQUET_OPTIONS})`);
  }
  const types = columns.map((column) => parseValueType(column.type));
  const line = format === 'csv' ? csvLine(types) : ndjsonLine(columns, types);
  const head = format === 'csv' ? `${columns.map((column) => csvField(column.name)).join(',')}\n` : '';
  return writeLines(target, session.chunks(plainSelect(columns, from)), types, line, head);
}

/** One line a row, made from its cells. */
export async function writeLines(
  target: string,
  chunks: AsyncIterable<Parameters<typeof chunkColumns>[0]>,
  types: readonly ValueType[],
  line: (cells: Cell[]) => string,
  head = '',
): Promise<number> {
  let rows = 0;
  const texts = async function* (): AsyncGenerator<string> {
    let text = head;
    for await (const chunk of chunks) {
      const columns = chunkColumns(chunk);
      for (let row = 0; row < chunk.rowCount; row++) {
        text += line(types.map((type, column) => cellOfPlain(type, columns[column]?.[row] ?? null)));
        if (text.length < BATCH_CHARACTERS) continue;
        yield text;
        text = '';
      }
      rows += chunk.rowCount;
    }
    yield text;
  };
  await pipeline(texts, createWriteStream(target, { flags: 'wx', mode: 0o600 }));
  return rows;
}

function ndjsonLine(columns: readonly Column[], types: readonly ValueType[]): (cells: Cell[]) => string {
  const names = columns.map((column) => JSON.stringify(column.name));
  return (cells) => {
    const members = types.map((type, index) => `${names[index]}:${cellToJson(type, cells[index] ?? null)}`);
    return `{${members.join(',')}}\n`;
  };
}

/** Null is an empty field, an empty text `""`: read back, both are what they were. */
function csvLine(types: readonly ValueType[]): (cells: Cell[]) => string {
  return (cells) => `${types.map((_, index) => csvField(cells[index] ?? null)).join(',')}\n`;
}

function csvField(cell: Cell): string {
  if (cell === null) return '';
  return cell === '' || /[",\r\n]|^\s|\s$/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
