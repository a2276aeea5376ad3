import { pipeline, Readable } from 'node:stream';
import { CsvError, parse, type Info, type Parser } from 'csv-parse';
import type { Cell } from '../../../contract/cells';
import { LoftError } from '../../../contract/errors';
import { BatchBuilder, writeColumns } from '../cellBatch';
import { utf8Text } from './lines';
import { cellsOfTexts, shownName } from './rowCells';
import { MAX_ROW_BYTES, type Bytes, type RowSource } from './rowSource';
import { mapHeader } from './sourceMapping';

/** A record with the line it ends on, from 1. */
type Line = { record: Cell[]; info: Info };

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
    let targets: number[] | undefined;
    let row = -1;
    for await (const { record, info } of records(bytes)) {
      if (targets === undefined) {
        targets = mapHeaderLine(record, (names) => mapHeader(view, names), columns.indexByName);
        continue;
      }
      row++;
      if (record.length !== targets.length) {
        problems.add(row, {
          code: 'ragged_row',
          found: `${countOf(record.length, 'field')} (line ${info.lines})`,
          expected: `${countOf(targets.length, 'field')}, as in the header`,
        });
        continue;
      }
      const cells = cellsOfTexts(columns, targets, row, record, options, problems);
      if (cells !== undefined && builder.add(row, cells)) yield builder.take();
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

async function* records(bytes: Bytes): AsyncGenerator<Line, void> {
  const parser: Parser = parse({
    info: true,
    relax_column_count: true,
    skip_empty_lines: true,
    record_delimiter: ['\r\n', '\n'],
    max_record_size: MAX_ROW_BYTES,
    cast: (text, context) => (text === '' && !context.quoting ? null : text),
  });
  // Its callback is not needed: an error of either side comes out of the parser's iteration.
  pipeline(Readable.from(utf8Text(bytes)), parser, () => undefined);
  try {
    for await (const line of parser) yield line as Line;
  } catch (error) {
    throw error instanceof CsvError ? badCsv(error) : error;
  }
}

function badCsv(error: CsvError): LoftError {
  const line = typeof error['lines'] === 'number' ? ` at line ${error['lines']}` : '';
  const reasons: Partial<Record<string, string>> = {
    CSV_QUOTE_NOT_CLOSED: 'a quoted field has no closing quote',
    CSV_INVALID_CLOSING_QUOTE:
      'something other than a comma or the line’s end follows a closing quote; quotes inside a field are doubled',
    INVALID_OPENING_QUOTE:
      'a quote stands in the middle of a field; a field with quotes is quoted as a whole, its quotes doubled',
    CSV_MAX_RECORD_SIZE: `a row has more than ${MAX_ROW_BYTES} bytes (perhaps a quote was never closed)`,
  };
  return new LoftError(422, 'bad_csv', `Bad CSV${line}: ${reasons[error.code] ?? error.message}.`, {
    problems: [
      { code: 'bad_csv', found: reasons[error.code] ?? error.code, expected: `CSV as RFC 4180 has it${line}` },
    ],
  });
}

const otherDelimiters = [
  { sign: ';', name: 'semicolon' },
  { sign: '\t', name: 'tab' },
  { sign: '|', name: 'vertical bar' },
];

/** One field that holds known names between other delimiters is a file with the wrong delimiter, not an unknown column. */
function mapHeaderLine(
  record: readonly Cell[],
  map: (names: string[]) => number[],
  known: ReadonlyMap<string, number>,
): number[] {
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
