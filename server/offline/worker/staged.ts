import { LoftError, type Problem } from '../../../contract/errors';
import { ROW_COLUMN } from './datasetTable';

/** An uploaded file, readable as typed columns in its own order. */
export interface Staged {
  columns: StagedColumn[];
  /** What comes after FROM; rows come in the file's order. Lives as long as the session. */
  relation: string;
}

export interface StagedColumn {
  name: string;
  /** As `contract/valueTypes.ts` writes it. */
  type: string;
  /** Why it is that type. */
  reason: string;
  /** SQL over `relation` of the lake's type. */
  sql: string;
  /** SQL over `relation` that tries another type: NULL for a value that does not fit. Undefined: the file knows its types. */
  tryAs?: (type: string) => string;
  /** SQL over `relation`: the value as text, to show it. */
  text: string;
}

const MOST_COLUMNS = 2_000;
const LONGEST_NAME = 200;
/** Ours, and DuckDB's, by which we ask which files a table has. */
const RESERVED = new Set([ROW_COLUMN, 'filename', 'file_row_number', 'file_index', 'rowid']);

/** A dataset keeps its columns' names, but two must not differ by case alone, nor any be ours. Throws 422 `bad_columns`. */
export function checkColumnNames(names: readonly string[]): void {
  const problems: Problem[] = [];
  const places = new Map<string, number>();
  if (names.length > MOST_COLUMNS) {
    problems.push({ code: 'too_many_columns', found: `${names.length} columns`, expected: `at most ${MOST_COLUMNS}` });
  }
  names.forEach((name, index) => {
    const place = `column ${index + 1}`;
    const shown = JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}…` : name);
    if (name.trim() === '') problems.push({ field: place, code: 'no_name', found: 'no name', expected: 'a name' });
    else if (name.length > LONGEST_NAME) {
      problems.push({ field: place, code: 'long_name', found: shown, expected: `at most ${LONGEST_NAME} characters` });
    } else if (/[\0-\x1f\x7f]/.test(name)) {
      problems.push({ field: place, code: 'bad_name', found: shown, expected: 'a name without control characters' });
    } else if (RESERVED.has(name.toLowerCase())) {
      const expected = 'another name: the lake has a column of its own of this one';
      problems.push({ field: place, code: 'reserved_name', found: shown, expected });
    }
    const other = places.get(name.toLowerCase());
    if (other !== undefined) {
      const expected = 'each name once, also without regard to case';
      problems.push({ field: place, code: 'duplicate_column', found: `${shown}, as column ${other + 1}`, expected });
    } else places.set(name.toLowerCase(), index);
  });
  if (problems.length > 0) throw refused('bad_columns', 'The columns of the file can’t be taken', problems);
}

/** 422 whose words name the first problem and how many there are. */
export function refused(code: string, what: string, problems: Problem[], total = problems.length): LoftError {
  const [first] = problems;
  const where = [first?.row === undefined ? '' : `row ${first.row + 1}`, first?.field ?? '', first?.path ?? '']
    .filter((part) => part !== '')
    .join(', ');
  const more = total > 1 ? ` (${total} problems in all)` : '';
  return new LoftError(
    422,
    code,
    `${what}: ${where === '' ? '' : `${where}: `}found ${first?.found}, expected ${first?.expected}${more}.`,
    { problems },
  );
}
