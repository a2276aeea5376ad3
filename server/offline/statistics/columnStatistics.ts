import type { DuckDBValue } from '@duckdb/node-api';
import type { Column } from '../../../contract/api';
import { parseValueType, type ValueType } from '../../../contract/valueTypes';
import { quoteName } from '../../postgres/identifiers';
import type { CellStatistics } from '../protocol';
import type { Session } from '../worker/lake';
import { toPlain } from '../worker/lakeTypes';
import { cellOfPlain } from '../worker/plainValues';

const QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95];
const BINS = 20;
const TOP = 10;
/** Above so many rows `distinct` is HyperLogLog's estimate, off by some 2 %. */
const EXACT_DISTINCT_ROWS = 1_000_000;

/**
 * What a column's values are like. `quantiles` are at 5, 25, 50, 75 and 95 %, `std` is the sample's (n − 1), `histogram` has 20
 * equal bins from the smallest to the greatest finite value, the last one closed. NaN and infinities count in `rows` alone.
 */
export async function columnStatistics(
  session: Session,
  column: Column,
  from: string,
  rows: number,
): Promise<CellStatistics> {
  const type = parseValueType(column.type);
  const name = quoteName(column.name);
  const distinct = rows > EXACT_DISTINCT_ROWS ? `approx_count_distinct(${name})` : `count(DISTINCT ${name})`;
  const ordered = isOrdered(type);
  const summary = await session.row(
    `SELECT count(*) AS n, count(*) - count(${name}) AS nulls, ${distinct} AS "distinct"
     ${ordered ? `, ${toPlain(type, `min(${name})`)} AS low, ${toPlain(type, `max(${name})`)} AS high` : ''}
     FROM ${from}`,
  );
  return {
    rows: Number(summary['n']),
    nulls: Number(summary['nulls']),
    distinct: Number(summary['distinct']),
    ...(ordered ? { min: cellOf(type, summary['low']), max: cellOf(type, summary['high']) } : {}),
    ...(isNumber(type) ? await numberStatistics(session, name, from) : {}),
    ...(hasTop(type) ? { top: await topValues(session, type, name, from) } : {}),
  };
}

function cellOf(type: ValueType, value: DuckDBValue | undefined): string | null {
  return cellOfPlain(type, value ?? null);
}

async function numberStatistics(
  session: Session,
  name: string,
  from: string,
): Promise<Pick<CellStatistics, 'mean' | 'std' | 'quantiles' | 'histogram'>> {
  const finite = `SELECT CAST(${name} AS DOUBLE) AS x FROM ${from} WHERE isfinite(CAST(${name} AS DOUBLE))`;
  const row = await session.row(
    `SELECT avg(x) AS mean, stddev_samp(x) AS std, min(x) AS low, max(x) AS high,
       ${QUANTILES.map((at, index) => `quantile_cont(x, ${at}) AS q${index}`).join(', ')} FROM (${finite})`,
  );
  const { mean, std, low, high } = row;
  if (typeof low !== 'number' || typeof high !== 'number') return { mean: null, std: null };
  return {
    mean: finiteOrNull(mean),
    std: finiteOrNull(std),
    quantiles: QUANTILES.map((_, index) => Number(row[`q${index}`])),
    ...(await histogram(session, finite, low, high)),
  };
}

async function histogram(
  session: Session,
  finite: string,
  low: number,
  high: number,
): Promise<Pick<CellStatistics, 'histogram'>> {
  const width = (high - low) / BINS;
  if (!Number.isFinite(width)) return {};
  if (width === 0) {
    return { histogram: { edges: [low, high], counts: [await session.count(`SELECT count(*) FROM (${finite})`)] } };
  }
  const counts = new Array<number>(BINS).fill(0);
  const bins = await session.rows(
    `SELECT least(${BINS - 1}, CAST(floor((x - $1) / $2) AS INTEGER)) AS bin, count(*) AS n FROM (${finite}) GROUP BY bin`,
    [low, width],
  );
  for (const { bin, n } of bins) counts[Number(bin)] = Number(n);
  const edges = Array.from({ length: BINS + 1 }, (_, index) => (index === BINS ? high : low + index * width));
  return { histogram: { edges, counts } };
}

async function topValues(
  session: Session,
  type: ValueType,
  name: string,
  from: string,
): Promise<{ value: string | null; count: number }[]> {
  const rows = await session.rows(
    `SELECT ${toPlain(type, name)} AS value, count(*) AS n FROM ${from} WHERE ${name} IS NOT NULL
     GROUP BY ${name} ORDER BY n DESC, ${name} LIMIT ${TOP}`,
  );
  return rows.map(({ value, n }) => ({ value: cellOf(type, value), count: Number(n) }));
}

function finiteOrNull(value: DuckDBValue | undefined): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function isNumber(type: ValueType): boolean {
  return ['int32', 'int64', 'float32', 'float64', 'decimal'].includes(type.kind);
}

function isOrdered(type: ValueType): boolean {
  return isNumber(type) || ['bool', 'string', 'timestamp', 'date', 'uuid'].includes(type.kind);
}

function hasTop(type: ValueType): boolean {
  return ['bool', 'int32', 'int64', 'string', 'date', 'uuid', 'decimal'].includes(type.kind);
}
