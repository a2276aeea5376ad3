import { LoftError, type Problem } from '../../../contract/errors';
import { formatValueType, parseValueType } from '../../../contract/valueTypes';
import { quoteName } from '../../postgres/identifiers';
import { quoteText, type Session } from './lake';
import { checkColumnNames, refused, type Staged, type StagedColumn } from './staged';

/** A Parquet file: it names its types; what has no counterpart of ours is kept as text or json, and said so. */
export async function stageParquet(session: Session, file: string): Promise<Staged> {
  const relation = `read_parquet(${quoteText(file)})`;
  try {
    checkColumnNames(await topLevelNames(session, file));
    await refuseNanoseconds(session, file);
    const described = await session.rows(`DESCRIBE SELECT * FROM ${relation}`);
    const columns: StagedColumn[] = [];
    for (const row of described) {
      const name = String(row['column_name']);
      columns.push(await stagedColumn(session, relation, name, String(row['column_type'])));
    }
    await checkValues(session, relation, columns);
    return { relation, columns };
  } catch (error) {
    throw parquetError(error);
  }
}

/** What DuckDB says of a file that is none is turned into words; anything else is passed on. */
export function parquetError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof LoftError) return error;
  if (!/parquet|thrift|footer|magic|snappy|zstd|page|decompress|corrupt|too small|out of range/i.test(error.message))
    return error;
  if (/^(Out of Memory|IO Error: (?:Cannot open|No space))/i.test(error.message)) return error;
  return new LoftError(
    422,
    'bad_parquet',
    'The file is no complete Parquet file: its end or a page of it can’t be read. Was it cut off while it was written or sent?',
    { cause: error },
  );
}

async function topLevelNames(session: Session, file: string): Promise<string[]> {
  const rows = await session.rows(`SELECT name, num_children FROM parquet_schema(${quoteText(file)})`);
  const names: string[] = [];
  let at = 1;
  const skip = (): void => {
    const children = Number(rows[at]?.['num_children'] ?? 0);
    at++;
    for (let child = 0; child < children; child++) skip();
  };
  while (at < rows.length) {
    names.push(String(rows[at]?.['name']));
    skip();
  }
  return names;
}

/** DuckDB reads times with a zone to the microsecond, so that what is finer would be lost without a word. */
async function refuseNanoseconds(session: Session, file: string): Promise<void> {
  const rows = await session.rows(
    `SELECT name, CAST(logical_type AS VARCHAR) AS logical FROM parquet_schema(${quoteText(file)})`,
  );
  const problems = rows
    .filter(({ logical }) => /isAdjustedToUTC=1.*NANOS=(?!<null>)/s.test(String(logical)))
    .map(({ name }): Problem => ({
      field: String(name),
      code: 'too_precise',
      found: 'times in nanoseconds',
      expected: 'microseconds: in pandas .dt.as_unit("us"), in pyarrow coerce_timestamps="us"',
    }));
  if (problems.length > 0) throw refused('bad_values', 'The Parquet file holds times that can’t be kept', problems);
}

async function stagedColumn(session: Session, relation: string, name: string, found: string): Promise<StagedColumn> {
  const value = quoteName(name);
  const column = (type: string, sql = value, reason = `Parquet’s ${found.toLowerCase()}`): StagedColumn => ({
    name,
    type,
    reason,
    sql,
    text: `CAST(${value} AS VARCHAR)`,
  });
  const scalar = scalarTypes[found] ?? decimalOf(found);
  if (scalar)
    return column(
      scalar,
      scalar === 'int32' ? `CAST(${value} AS INTEGER)` : scalar === 'int64' ? `CAST(${value} AS BIGINT)` : value,
    );
  if (found === 'UBIGINT') {
    const beyond = await session.count(`SELECT count(*) FROM ${relation} WHERE ${value} > 9223372036854775807`);
    return beyond === 0
      ? column('int64', `CAST(${value} AS BIGINT)`, 'unsigned 64-bit numbers, none beyond int64')
      : column('decimal(20,0)', `CAST(${value} AS DECIMAL(20,0))`, 'unsigned 64-bit numbers, some beyond int64');
  }
  if (/^ENUM\(/.test(found)) return column('string', `CAST(${value} AS VARCHAR)`, 'a dictionary of texts');
  if (/^TIMESTAMP(_S|_MS|_NS)?$/.test(found)) {
    return column(
      'string',
      `replace(CAST(${value} AS VARCHAR), ' ', 'T')`,
      'times without a zone are kept as text; write them with a zone (isAdjustedToUTC) to make them timestamps',
    );
  }
  if (found === 'TIME' || found === 'INTERVAL')
    return column('string', `CAST(${value} AS VARCHAR)`, `${found.toLowerCase()} as text`);
  const list = /^(.*)\[(\d*)\]$/.exec(found);
  if (list) {
    const item = scalarTypes[list[1] ?? ''] ?? decimalOf(list[1] ?? '');
    if (item !== undefined && item !== 'json') {
      const cast = item === 'int32' ? 'INTEGER[]' : item === 'int64' ? 'BIGINT[]' : undefined;
      return column(`list<${item}>`, cast ? `CAST(${value} AS ${cast})` : `CAST(${value} AS ${list[1]}[])`);
    }
  }
  return column('json', `CAST(to_json(${value}) AS VARCHAR)`, 'nested values, kept as json');
}

const scalarTypes: Record<string, string> = {
  BOOLEAN: 'bool',
  TINYINT: 'int32',
  SMALLINT: 'int32',
  INTEGER: 'int32',
  UTINYINT: 'int32',
  USMALLINT: 'int32',
  UINTEGER: 'int64',
  BIGINT: 'int64',
  FLOAT: 'float32',
  DOUBLE: 'float64',
  VARCHAR: 'string',
  BLOB: 'bytes',
  'TIMESTAMP WITH TIME ZONE': 'timestamp',
  DATE: 'date',
  UUID: 'uuid',
};

function decimalOf(found: string): string | undefined {
  const match = /^DECIMAL\((\d+),(\d+)\)$/.exec(found);
  return match ? formatValueType(parseValueType(`decimal(${match[1]},${match[2]})`)) : undefined;
}

/** Reads every value once: a damaged page is found here, and what no type of ours holds. */
async function checkValues(session: Session, relation: string, columns: StagedColumn[]): Promise<void> {
  const checks = columns.map((column) => badValue(column) ?? `count(${quoteName(column.name)}) * 0`);
  const counts = await session.row(
    `SELECT ${checks.map((check, index) => `${check} AS n${index}`).join(', ')} FROM ${relation}`,
  );
  const problems = columns.flatMap((column, index): Problem[] => {
    const bad = Number(counts[`n${index}`]);
    if (bad === 0) return [];
    const text = column.type === 'string';
    return [
      {
        field: column.name,
        code: text ? 'nul_in_text' : 'out_of_range',
        found: text ? `${bad} values with NUL` : `${bad} values outside the years 0001 to 9999`,
        expected: text ? 'text without NUL' : 'days and times of the years 0001 to 9999',
      },
    ];
  });
  if (problems.length > 0) throw refused('bad_values', 'The Parquet file holds values that can’t be kept', problems);
}

function badValue(column: StagedColumn): string | undefined {
  const value = quoteName(column.name);
  if (column.type === 'string') return `count(*) FILTER (contains(${column.sql}, chr(0)))`;
  if (column.type === 'timestamp') {
    return `count(*) FILTER (${value} NOT BETWEEN TIMESTAMPTZ '0001-01-01 00:00:00Z' AND TIMESTAMPTZ '9999-12-31 23:59:59.999999Z')`;
  }
  if (column.type === 'date') return `count(*) FILTER (${value} NOT BETWEEN DATE '0001-01-01' AND DATE '9999-12-31')`;
  return undefined;
}
