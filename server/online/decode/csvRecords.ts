import { CsvError, parse, type CsvErrorCode, type Parser } from 'csv-parse';
import { LoftError } from '../../../contract/errors';
import { MAX_ROW_BYTES } from './rowSource';

/** A record's fields, and the line it begins on, from 1. A field that is empty without quotes is null. */
export interface CsvRecord {
  fields: (string | null)[];
  line: number;
}

/**
 * RFC 4180 as a stream: commas, double quotes doubled inside a quoted field, lines ended by LF or CRLF; blank lines are
 * skipped. Throws LoftError 422 `bad_csv` for misplaced quotes and for a record beyond `MAX_ROW_BYTES`.
 */
export async function* csvRecords(pieces: AsyncIterable<string>): AsyncGenerator<CsvRecord[], void> {
  let records: CsvRecord[] = [];
  let line = 1; // on which the record begins that is being read
  let unfinished = 0;
  // Two things are ours. A record's text tells "" from nothing: the option `cast` would too, at a tenth of the speed.
  // Lines are counted here: the parser knows where a record ends, not begins, and takes a CRLF in quotes for two.
  const parser = parse({ raw: true, relax_column_count: true, record_delimiter: ['\r\n', '\n'] });
  parser.on('data', ({ record, raw }: { record: string[]; raw: string }) => {
    unfinished = 0;
    const isBlank = record.length === 1 && record[0] === '' && !raw.startsWith('"');
    if (!isBlank) records.push({ fields: withNulls(record, raw), line });
    line += 1 + lineBreaks(record);
  });
  parser.on('error', () => undefined); // told by the write that met it
  try {
    for await (const piece of pieces) {
      unfinished += piece.length;
      await write(parser, piece);
      // The parser's `max_record_size` counts no commas: a file of nothing else would fill the memory.
      if (unfinished > MAX_ROW_BYTES) {
        throw bad(line, `a row has more than ${MAX_ROW_BYTES} characters; perhaps a quote was never closed`);
      }
      if (records.length > 0) yield records;
      records = [];
    }
    await end(parser);
  } catch (error) {
    throw error instanceof CsvError ? bad(line, reasons[error.code] ?? error.message) : error;
  }
  if (records.length > 0) yield records;
}

const reasons: Partial<Record<CsvErrorCode, string>> = {
  CSV_QUOTE_NOT_CLOSED: 'a quoted field has no closing quote',
  CSV_INVALID_CLOSING_QUOTE: 'after a closing quote comes a comma or the line’s end; quotes inside a field are doubled',
  INVALID_OPENING_QUOTE:
    'a quote stands in the middle of a field; such a field is quoted as a whole, its quotes doubled',
};

/** The parser gives '' for an empty field, in quotes or not; `raw`, the record as it came, tells which it was. */
function withNulls(fields: string[], raw: string): (string | null)[] {
  if (!raw.includes('""')) return fields.map((field) => (field === '' ? null : field));
  let at = 0;
  return fields.map((field) => {
    const isQuoted = raw[at] === '"';
    const quotes = isQuoted ? field.split('"').length + 1 : 0;
    at += field.length + quotes + 1;
    return field === '' && !isQuoted ? null : field;
  });
}

function lineBreaks(fields: string[]): number {
  return fields.reduce((sum, field) => (field.includes('\n') ? sum + field.split('\n').length - 1 : sum), 0);
}

function write(parser: Parser, piece: string): Promise<void> {
  return new Promise((resolve, reject) => {
    parser.write(piece, (error) => (error ? reject(error) : resolve()));
  });
}

function end(parser: Parser): Promise<void> {
  return new Promise((resolve, reject) => {
    parser.end((error?: Error | null) => (error ? reject(error) : resolve()));
  });
}

function bad(line: number, what: string): LoftError {
  return new LoftError(422, 'bad_csv', `Bad CSV in the row that begins on line ${line}: ${what}.`, {
    problems: [{ code: 'bad_csv', found: `line ${line}`, expected: `CSV as RFC 4180 has it: ${what}` }],
  });
}
