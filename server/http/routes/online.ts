import type { IncomingMessage } from 'node:http';
import { createReadStream } from 'node:fs';
import { createHash, type Hash } from 'node:crypto';
import type { WriteAnswer } from '../../../contract/api';
import type { RouteQuery } from '../../../contract/routeTypes';
import type { OfflineStore, RowsToRead } from '../../offline/offlineStore';
import { csvRows } from '../../online/decode/csvRows';
import { readJsonRows } from '../../online/decode/jsonRows';
import { ndjsonRows } from '../../online/decode/ndjsonRows';
import type { RowSource } from '../../online/decode/rowSource';
import { workerPlan } from '../../online/decode/sourceMapping';
import { workerRows } from '../../online/decode/workerRows';
import { requestHash } from '../../online/idempotency';
import { readOnline, type ReadContext } from '../../online/read';
import { withRegistry } from '../../online/registryMoved';
import { writeRows, type WriteContext } from '../../online/write';
import { resolveView } from '../../registry/resolve';
import { demandPlainEncoding, MAX_JSON_BYTES, mediaType, readText, withPauseLimit } from '../body';
import { formatOfBody } from '../negotiate';
import { JsonReply } from '../reply';
import type { Handlers } from '../router';
import { spool } from '../spool';

export interface OnlineParts extends WriteContext, ReadContext {
  offline: OfflineStore;
  tmpDir: string;
}

export function onlineRoutes(parts: OnlineParts): Pick<Handlers, 'writeRows' | 'onlineGet'> {
  return {
    onlineGet: async ({ body }) => new JsonReply({ text: await readOnline(parts, body) }),
    writeRows: async ({ params, query, raw }) => {
      const answer = await writeBody(parts, params.view, query, raw);
      parts.offline.wakeDrain();
      return answer;
    },
  };
}

type Query = RouteQuery<'writeRows'>;

async function writeBody(
  parts: OnlineParts,
  view: string,
  query: Query,
  request: IncomingMessage,
): Promise<WriteAnswer> {
  demandPlainEncoding(request);
  const type = mediaType(request);
  if (type === 'application/json') {
    const text = await readText(request, MAX_JSON_BYTES);
    const body = readJsonRows(text);
    const sha256 = createHash('sha256').update(text).digest('hex');
    if (body.kind === 'rows') return write(parts, view, query, request, sha256, body.source);
    const rows = await parts.offline.datasetRows(body.dataset, body.version);
    return writeRead(parts, view, query, request, () => sha256, rows, 'dataset');
  }
  const format = formatOfBody(type);
  if (format === 'parquet') {
    const hash = createHash('sha256');
    const rows = await parts.offline.bodyRows(hashed(request, hash), format);
    return writeRead(parts, view, query, request, () => hash.digest('hex'), rows, 'upload');
  }
  const body = await spool(request, parts.tmpDir);
  try {
    const source = format === 'csv' ? csvRows(body.bytes) : ndjsonRows(body.bytes);
    return await write(parts, view, query, request, body.sha256, source);
  } finally {
    await body.release();
  }
}

async function* hashed(request: IncomingMessage, hash: Hash): AsyncGenerator<Buffer, void> {
  for await (const chunk of withPauseLimit(request)) {
    hash.update(chunk);
    yield chunk;
  }
}

/**
 * Writes rows that the worker reads. Which of their columns are asked for is planned for the view as it is now; should that
 * change before the rows are in, the writer notices.
 */
async function writeRead(
  parts: OnlineParts,
  view: string,
  query: Query,
  request: IncomingMessage,
  sha256: () => string,
  rows: RowsToRead,
  kind: 'upload' | 'dataset',
): Promise<WriteAnswer> {
  try {
    const names = rows.columns.map(({ name }) => name);
    // eslint-disable-next-line @typescript-eslint/require-await -- what it throws must be a rejection
    const plan = await withRegistry(parts, async (now) => workerPlan(resolveView(now, view), names, kind));
    const { path } = await rows.cells(plan.columns);
    const source = workerRows(() => createReadStream(path) as AsyncIterable<Buffer>, plan);
    return await write(parts, view, query, request, sha256(), source);
  } finally {
    await rows.release();
  }
}

function write(
  parts: OnlineParts,
  view: string,
  { onError }: Query,
  request: IncomingMessage,
  bodySha256: string,
  rows: RowSource,
): Promise<WriteAnswer> {
  const key = request.headers['idempotency-key'];
  const idempotency =
    key === undefined
      ? undefined
      : {
          key: String(key),
          caller: 'owner',
          route: 'POST /v1/views/{view}/rows',
          requestHash: requestHash(request.url ?? '', bodySha256),
        };
  return writeRows(parts, { view, rows, onError, idempotency });
}
