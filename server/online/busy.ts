import { LoftError } from '../../contract/errors';
import { sqlState } from '../postgres/connect';

/** A statement that ran out of time behind a lock → LoftError 503 `view_busy`; any other error comes back unchanged. */
export function translateBusy(error: unknown): unknown {
  // query_canceled (by the statement's time-out), lock_not_available
  if (!['57014', '55P03'].includes(sqlState(error) ?? '')) return error;
  return new LoftError(
    503,
    'view_busy',
    'The view’s table was busy for too long (a bulk load, or a publish that changes it). Nothing was changed; try again.',
    { retryAfterSeconds: 5, cause: error },
  );
}
