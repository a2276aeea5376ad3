import { quoteName } from '../../postgres/identifiers';
import { ROW_COLUMN } from './datasetTable';
import type { Column } from '../../../contract/api';

/**
 * The point-in-time join of one view: which row of history, by its `write_seq`, each row of the spine sees. It works on
 * narrow columns alone; features are gathered by `write_seq` afterwards. What DuckDB 1.5.5 gets wrong is kept away from it: an ASOF
 * join matches NULL with NULL in composite keys and a NULL time with a row, so such spine rows don't enter; it picks any of
 * several rows with the same time, so ties are decided afterwards, or there are none.
 */
export interface PointInTimeView {
  /** FROM … of the view's history. */
  history: string;
  keys: readonly Column[];
  /** Names of the spine's key columns, in the order of `keys`. */
  spineKeys: readonly string[];
}

/** The spine: ROW_COLUMN counts rows from 0 in their order, `t` is the time asked for. */
export interface SpineTable {
  table: string;
  time: string;
}

/** A query of (ROW_COLUMN, seq, ets), at most one row a row of the spine. */
export function winners(view: PointInTimeView, spine: SpineTable, asKnownAt: boolean): string {
  return asKnownAt ? winnersAsKnown(view, spine) : winnersByEventTime(view, spine);
}

function askers(view: PointInTimeView, spine: SpineTable): string {
  const keys = view.spineKeys.map((key, index) => `${quoteName(key)} AS k${index}`);
  const present = [...view.spineKeys, spine.time].map((name) => `${quoteName(name)} IS NOT NULL`);
  return `SELECT ${ROW_COLUMN}, ${quoteName(spine.time)} AS t, ${keys.join(', ')} FROM ${spine.table} WHERE ${present.join(' AND ')}`;
}

function sameKeys(view: PointInTimeView, left: string, right: string): string {
  return view.keys.map((_, index) => `${left}.k${index} = ${right}.k${index}`).join(' AND ');
}

function keyList(view: PointInTimeView, of = ''): string {
  return view.keys.map((_, index) => `${of}k${index}`).join(', ');
}

function historyKeys(view: PointInTimeView): string {
  return view.keys.map((key, index) => `${quoteName(key.name)} AS k${index}`).join(', ');
}

/** First the newest event time at or before t, then of the rows with that time the one known last and written last. */
function winnersByEventTime(view: PointInTimeView, spine: SpineTable): string {
  return `
WITH s AS (${askers(view, spine)}),
newest AS (
  SELECT s.${ROW_COLUMN}, ${keyList(view, 's.')}, h.ets
  FROM s ASOF JOIN (SELECT ${historyKeys(view)}, event_timestamp AS ets FROM ${view.history}) h
  ON ${sameKeys(view, 's', 'h')} AND s.t >= h.ets
)
SELECT n.${ROW_COLUMN}, arg_max(h.seq, (h.cts, h.seq)) AS seq, any_value(n.ets) AS ets
FROM newest n JOIN (
  SELECT ${historyKeys(view)}, event_timestamp AS ets, created_timestamp AS cts, write_seq AS seq FROM ${view.history}
) h ON ${sameKeys(view, 'n', 'h')} AND n.ets = h.ets
GROUP BY n.${ROW_COLUMN}`;
}

/**
 * A row is available from the later of its event and created times. In order of availability only rows whose triple exceeds all
 * before them ever win, so that the last of these at or before t is the greatest triple known at t.
 */
function winnersAsKnown(view: PointInTimeView, spine: SpineTable): string {
  const keys = keyList(view);
  return `
WITH s AS (${askers(view, spine)}),
ranked AS (
  SELECT ${historyKeys(view)}, event_timestamp AS ets, write_seq AS seq, greatest(event_timestamp, created_timestamp) AS a,
    row_number() OVER (PARTITION BY ${view.keys.map((key) => quoteName(key.name)).join(', ')}
      ORDER BY event_timestamp, created_timestamp, write_seq) AS rank
  FROM ${view.history}
),
marked AS (
  SELECT *, max(rank) OVER (PARTITION BY ${keys} ORDER BY a, rank ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS top,
    lead(a) OVER (PARTITION BY ${keys} ORDER BY a, rank) AS next
  FROM ranked
),
maxima AS (SELECT ${keys}, ets, seq, a FROM marked WHERE (top IS NULL OR rank > top) AND next IS DISTINCT FROM a)
SELECT s.${ROW_COLUMN}, m.seq, m.ets FROM s ASOF JOIN maxima m ON ${sameKeys(view, 's', 'm')} AND s.t >= m.a`;
}
