import { open } from 'node:fs/promises';
import { CsvError, parse, type Info } from 'csv-parse/sync';
import { LoftError, MAX_PROBLEMS, type Problem } from '../../../contract/errors';
import { parseValueType } from '../../../contract/valueTypes';
import { quoteText, type Session } from './lake';
import { lakeType } from './lakeTypes';
import { refuseLongRecords } from './longRecords';
import { chunkColumns } from './plainValues';
import { checkColumnNames, refused, type Staged } from './staged';
import { TypeGuess } from './typeGuess';

/** How far the header may reach. */
const HEADER_BYTES = 1_048_576;
const LONGEST_LINE = 16_777_216;
/** DuckDB would take sixteen lines' worth, half a gigabyte. */
const READ_BUFFER = 2 * LONGEST_LINE;

/**
 * A CSV file: UTF-8, a header, `,` `;` tab or `|` between fields, quotes doubled inside quotes. An empty field is null, `""` an
 * empty text. Nothing is skipped or guessed from a sample: every bad row is a problem with its line.
 */
export async function stageCsv(session: Session, file: string): Promise<Staged> {
  const { names, delimiter } = await readHeader(file);
  checkColumnNames(names);
  await refuseLongRecords(file, LONGEST_LINE);
  const places = names.map((_, index) => `c${index}`);
  await readStrictly(session, file, places, delimiter);
  const guesses = await guessTypes(session, places);
  return {
    relation: 'staged_csv',
    columns: names.map((name, index) => {
      const { type, reason } = guesses[index] ?? { type: 'string', reason: '' };
      const place = places[index] ?? '';
      return {
        name,
        type,
        reason,
        sql: `CAST(${place} AS ${lakeType(parseValueType(type))})`,
        tryAs: (wanted) => tryAs(wanted, place),
        text: place,
      };
    }),
  };
}

/**
 * SQL: text of a file → a type other than the one guessed, NULL where it doesn't fit. The patterns are there because DuckDB's
 * own casts round 2.5 to a whole number and take a time without a zone for UTC.
 */
export function tryAs(wanted: string, text: string): string {
  const type = parseValueType(wanted);
  const when = (pattern: string): string =>
    `CASE WHEN regexp_full_match(${text}, '${pattern}') THEN TRY_CAST(${text} AS ${lakeType(type)}) END`;
  switch (type.kind) {
    case 'string':
      return text;
    case 'bool':
      return when('(?i)true|false');
    case 'int32':
    case 'int64':
      return when('[+-]?\\d{1,19}');
    case 'float32':
    case 'float64':
      return when('[+-]?\\d+(\\.\\d+)?([eE][+-]?\\d+)?|NaN|[+-]?Infinity');
    case 'decimal':
      return when(`[+-]?\\d+(\\.\\d{0,${type.scale}}0*)?`);
    case 'date':
      return when('\\d{4}-\\d\\d-\\d\\d');
    case 'uuid':
      return when('[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}');
    case 'timestamp':
      return when('\\d{4}-\\d\\d-\\d\\d[T ]\\d\\d:\\d\\d(:\\d\\d(\\.\\d{1,6})?)?(Z|[+-]\\d\\d(:\\d\\d)?)');
    case 'json':
      return `CASE WHEN json_valid(${text}) THEN ${text} END`;
    case 'bytes':
    case 'list':
    case 'embedding':
      return `CAST(NULL AS ${lakeType(type)})`;
  }
}

async function readHeader(file: string): Promise<{ names: string[]; delimiter: string }> {
  const handle = await open(file);
  let start: string;
  let isWhole: boolean;
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
    start = buffer
      .subarray(0, bytesRead)
      .toString('utf8')
      .replace(/^\ufeff/, '');
    isWhole = bytesRead < HEADER_BYTES;
  } finally {
    await handle.close();
  }
  if (start.trim() === '') {
    throw new LoftError(422, 'empty_file', 'The file is empty. A CSV file begins with a line of column names.');
  }
  const { names, delimiter } = [',', ';', '\t', '|']
    .map((one) => ({ names: firstRecord(start, isWhole, one), delimiter: one }))
    .reduce((best, next) => (next.names.length > best.names.length ? next : best));
  if (names.length === 0) {
    throw refused('bad_csv', 'The CSV file can’t be read', [
      {
        path: 'line 1',
        code: 'bad_header',
        found: 'a quote out of place or never closed, or no end within 1 MB',
        expected: 'a line of column names',
      },
    ]);
  }
  return { names: names.map((name) => name.trim()), delimiter };
}

/** Nothing where a quote is out of place, as it may be with another delimiter, or where the record has no end. */
function firstRecord(text: string, isWhole: boolean, delimiter: string): string[] {
  const options = { delimiter, record_delimiter: ['\r\n', '\n', '\r'], to: 1, info: true };
  try {
    // The types don't know what `info` does.
    const [first] = parse(text, options) as unknown as { record: string[]; info: Info }[];
    return first !== undefined && (isWhole || first.info.bytes < Buffer.byteLength(text)) ? first.record : [];
  } catch (error) {
    if (error instanceof CsvError) return [];
    throw error;
  }
}

async function readStrictly(session: Session, file: string, places: string[], delimiter: string): Promise<void> {
  const columns = places.map((place) => `'${place}': 'VARCHAR'`).join(', ');
  for (const table of ['staged_csv', 'staged_rejects', 'staged_scans'])
    await session.run(`DROP TABLE IF EXISTS ${table}`);
  try {
    await session.run(
      `CREATE TEMP TABLE staged_csv AS SELECT * FROM read_csv(${quoteText(file)}, auto_detect = false,
         columns = {${columns}}, header = true, delim = ${quoteText(delimiter)}, quote = '"', escape = '"', nullstr = '',
         allow_quoted_nulls = false, strict_mode = true, max_line_size = ${LONGEST_LINE},
         buffer_size = ${READ_BUFFER}, store_rejects = true,
         rejects_table = 'staged_rejects', rejects_scan = 'staged_scans', rejects_limit = 10000)`,
    );
  } catch (error) {
    if (!(error instanceof Error) || !/^Invalid Input Error/.test(error.message)) throw error;
    const mixed = /invalid state/.test(error.message);
    throw refused('bad_csv', 'The CSV file can’t be read', [
      {
        code: 'bad_csv',
        found: mixed ? 'a line break or a quote out of place' : 'a line that is no CSV',
        expected: mixed ? 'the same line break (LF or CRLF) in the whole file' : 'lines of at most 16 MB',
      },
    ]);
  }
  await refuseBadLines(session, places.length);
}

const rejectWords: Record<string, string> = {
  'UNQUOTED VALUE': 'a field in quotes that ends with its closing quote',
  'INVALID ENCODING': 'UTF-8 text',
  'LINE SIZE OVER MAXIMUM': 'lines of at most 16 MB',
};

async function refuseBadLines(session: Session, width: number): Promise<void> {
  const total = await session.count('SELECT count(*) FROM staged_rejects');
  if (total === 0) return;
  const rejects = await session.rows(
    `SELECT line, error_type::VARCHAR AS kind, error_message, csv_line FROM staged_rejects
     ORDER BY line, byte_position LIMIT ${MAX_PROBLEMS}`,
  );
  const problems = rejects.map((reject): Problem => {
    const kind = String(reject['kind']);
    const count = /Found: (\d+)/.exec(String(reject['error_message']))?.[1];
    const ragged = kind === 'MISSING COLUMNS' || kind === 'TOO MANY COLUMNS';
    return {
      path: `line ${String(reject['line'])}`,
      code: ragged ? 'ragged_row' : kind.toLowerCase().replaceAll(' ', '_'),
      found: ragged && count !== undefined ? `${count} fields` : shortLine(String(reject['csv_line'])),
      expected: ragged ? `${width} fields, as in the header` : (rejectWords[kind] ?? 'a line of CSV'),
    };
  });
  throw refused('bad_csv', 'The CSV file can’t be read', problems, total);
}

function shortLine(line: string): string {
  return JSON.stringify(line.length > 60 ? `${line.slice(0, 60)}…` : line);
}

async function guessTypes(session: Session, places: string[]): Promise<{ type: string; reason: string }[]> {
  const guesses = places.map(() => new TypeGuess());
  const problems: Problem[] = [];
  let row = 0;
  for await (const chunk of session.chunks(`SELECT ${places.join(', ')} FROM staged_csv`)) {
    chunkColumns(chunk).forEach((values, column) => {
      const guess = guesses[column];
      values.forEach((value, at) => {
        if (typeof value !== 'string') return;
        if (value.includes('\0') && problems.length < MAX_PROBLEMS) {
          const expected = 'text without NUL';
          problems.push({ row: row + at, field: `column ${column + 1}`, code: 'nul_in_text', found: 'NUL', expected });
        }
        guess?.see(value, row + at);
      });
    });
    row += chunk.rowCount;
  }
  if (problems.length > 0) throw refused('bad_csv', 'The CSV file can’t be read', problems);
  return guesses.map((guess) => guess.guess());
}
