import type { Cell } from '../../../contract/cells';
import { LoftError } from '../../../contract/errors';
import { BatchBuilder, writeColumns } from '../cellBatch';
import { csvRecords } from './csvRecords';
import { utf8Text } from './lines';
import { cellsOfTexts, shownName } from './rowCells';
import type { Bytes, RowSource } from './rowSource';
import { mapHeader } from './sourceMapping';

/**
 * CSV as RFC 4180 has it: commas, double quotes, a header line with the view's column names (or those of its source). An
 * empty field is null, an empty field in quotes is the empty string. Throws LoftError 422 for a header that does not fit,
 * another delimiter, broken quotes.
 */
export function csvRows(bytes: Bytes): RowSource {
  return async function* (view, problems) {
    const columns = writeColumns(view);
    const timezone = view.definition.source?.timezone;
    const options = timezone === undefined ? {} : { timezone };
    const builder = new BatchBuilder(columns.list.length);
    let targets: number[][] | undefined;
    let row = -1;
    for await (const records of csvRecords(utf8Text(bytes))) {
      for (const { fields, line } of records) {
        if (targets === undefined) {
          targets = mapHeaderLine(fields, (names) => mapHeader(view, names), columns.indexByName);
          continue;
        }
        row++;
        if (fields.length !== targets.length) {
          problems.add(row, {
            code: 'ragged_row',
            found: `${countOf(fields.length, 'field')} (line ${line})`,
            expected: `${countOf(targets.length, 'field')}, as in the header`,
          });
          continue;
        }
        const cells = cellsOfTexts(columns, targets, row, fields, options, problems);
        if (cells !== undefined && builder.add(row, cells)) yield builder.take();
      }
    }
    if (targets === undefined) {
      throw new LoftError(
        422,
        'bad_csv',
        'The CSV is empty; expected a header line with the column names, and rows below it.',
      );
    }
    if (!builder.isEmpty) yield builder.take();
  };
}

const otherDelimiters = [
  { sign: ';', name: 'semicolon' },
  { sign: '\t', name: 'tab' },
  { sign: '|', name: 'vertical bar' },
];

/** One field that holds known names between other delimiters is a file with the wrong delimiter, not an unknown column. */
function mapHeaderLine(
  record: readonly Cell[],
  map: (names: string[]) => number[][],
  known: ReadonlyMap<string, number>,
): number[][] {
  const names = record.map((name) => name ?? '');
  const [only = ''] = names;
  for (const { sign, name } of otherDelimiters) {
    const parts = only.split(sign).map((part) => part.replace(/^"|"$/g, ''));
    if (names.length > 1 || parts.length < 2 || !parts.some((part) => known.has(part))) continue;
    throw new LoftError(
      422,
      'wrong_delimiter',
      `The header ${JSON.stringify(shownName(only))} is separated by ${name}s; expected commas. Save the file with commas.`,
    );
  }
  return map(names);
}

function countOf(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
