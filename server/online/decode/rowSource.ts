import type { ViewVersion } from '../../registry/snapshot';
import type { CellBatch } from '../cellBatch';
import type { RowProblems } from './problems';

/**
 * A request's rows, decoded for a view. Asked again from the start when the registry moved or a deadlock undid the write,
 * so what is behind it (a text, a file) stays until the write was answered. Bad rows go to `problems` and into no batch.
 * Throws a LoftError where there are no rows to speak of: a header that does not fit, a text that is no JSON.
 */
export type RowSource = (view: ViewVersion, problems: RowProblems) => AsyncIterable<CellBatch>;

/** The bytes of an upload, to be read from their start as often as needed. */
export type Bytes = () => AsyncIterable<Uint8Array>;

/** A row, or a record of a file, may have this many bytes: it must fit an outbox chunk whatever it compresses to. */
export const MAX_ROW_BYTES = 12 * 1024 * 1024;
