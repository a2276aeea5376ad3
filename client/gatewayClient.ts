import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { Agent as HttpAgent, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { routes, type Route, type RouteName } from '../contract/api';
import { LoftError, type ProblemDocument } from '../contract/errors';
import { parseJson, printJson } from '../contract/json';
import {
  pathOf,
  type DataRouteName,
  type EventsRouteName,
  type JsonRouteName,
  type RouteAnswer,
  type RouteBodyInput,
  type RouteParams,
  type RouteQueryInput,
  type RowsRouteName,
} from '../contract/routeTypes';

/** Rows on their way to the gateway: a file is streamed, `json` is `{rows}` or `{dataset}`. */
export type RowsInput =
  | { json: unknown }
  | { file: string; type: string }
  | { stream: Readable; type: string }
  | { text: string; type: string };

interface Common {
  headers?: Record<string, string>;
  signal?: AbortSignal;
}
/** A part that has nothing required in it may be left out. */
type Part<Key extends string, Value> = [Value] extends [undefined]
  ? unknown
  : Record<never, never> extends Value
    ? { [Name in Key]?: Value }
    : { [Name in Key]: Value };
export type CallOptions<Name extends RouteName> = Common &
  Part<'params', RouteParams<Name>> &
  Part<'query', RouteQueryInput<Name>> &
  Part<'body', RouteBodyInput<Name>> &
  (Name extends RowsRouteName ? { rows: RowsInput } : unknown);
/** No argument is needed where no part is. */
type Arguments<Options> = Record<never, never> extends Options ? [options?: Options] : [options: Options];

interface AnyOptions extends Common {
  params?: Record<string, string>;
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  rows?: RowsInput;
}

export const dataTypes = {
  parquet: 'application/vnd.apache.parquet',
  csv: 'text/csv',
  ndjson: 'application/x-ndjson',
} as const;
export type DataFormat = keyof typeof dataTypes;

/** An error's body and a JSON answer are held in memory; both are far smaller. */
const MAX_ANSWER_BYTES = 512 * 1024 * 1024;

/** A typed client of one gateway. Refusals come back as the LoftError that the gateway raised. */
export class GatewayClient {
  private readonly base: URL;
  private readonly agent: HttpAgent | HttpsAgent;

  constructor(
    gateway: { url: string; token: string },
    /** Connections used at once. */
    maxConnections = 32,
  ) {
    this.base = new URL(gateway.url);
    this.token = gateway.token;
    const options = { keepAlive: true, maxSockets: maxConnections };
    this.agent = this.base.protocol === 'https:' ? new HttpsAgent(options) : new HttpAgent(options);
  }

  private readonly token: string;

  get url(): string {
    return this.base.origin;
  }

  /** Asks a route that answers JSON. Integers beyond 2^53 come back as bigint. */
  async call<Name extends JsonRouteName>(
    name: Name,
    ...[options]: Arguments<CallOptions<Name>>
  ): Promise<RouteAnswer<Name>> {
    const response = await this.send(name, options, 'application/json');
    return parseJson(await readText(response)) as unknown as RouteAnswer<Name>;
  }

  /** Streams stored data into `file`, which appears only when it is whole. Answers its size in bytes. */
  async download<Name extends DataRouteName>(
    name: Name,
    options: CallOptions<Name> & { format: DataFormat; file: string },
  ): Promise<number> {
    const response = await this.send(name, options, dataTypes[options.format]);
    const part = `${options.file}.part`;
    try {
      await pipeline(response, createWriteStream(part));
      await rename(part, options.file);
      return (await stat(options.file)).size;
    } finally {
      await rm(part, { force: true });
    }
  }

  /** Stored data as it comes in. */
  async stream<Name extends DataRouteName>(
    name: Name,
    options: CallOptions<Name> & { format: DataFormat },
  ): Promise<Readable> {
    return this.send(name, options, dataTypes[options.format]);
  }

  /** The raw text of a stream of events; changeStream.ts reads it. */
  async events<Name extends EventsRouteName>(name: Name, options: CallOptions<Name>): Promise<Readable> {
    return this.send(name, options, 'text/event-stream');
  }

  close(): void {
    this.agent.destroy();
  }

  private async send(name: RouteName, options: AnyOptions = {}, accept: string): Promise<IncomingMessage> {
    const route: Route = routes[name];
    const body = bodyOf(options);
    const url = new URL(pathOf(route, options.params ?? {}), this.base);
    for (const [key, value] of Object.entries(options.query ?? {})) {
      if (value !== undefined) url.searchParams.set(key, String(value));
    }
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = send(url, {
      method: route.method,
      agent: this.agent,
      headers: {
        accept,
        authorization: `Bearer ${this.token}`,
        ...(body ? { 'content-type': body.type } : {}),
        ...(body && 'text' in body ? { 'content-length': Buffer.byteLength(body.text) } : {}),
        ...options.headers,
      },
      ...(options.signal ? { signal: options.signal } : {}),
    });
    const response = await exchange(request, body, options.signal);
    if ((response.statusCode ?? 0) < 400) return response;
    throw await refusalOf(response);
  }
}

type Body = { type: string; text: string } | { type: string; stream: Readable };

function bodyOf({ body, rows }: AnyOptions): Body | undefined {
  if (rows !== undefined) {
    if ('json' in rows) return { type: 'application/json', text: printJson(rows.json) };
    if ('text' in rows) return rows;
    return 'stream' in rows ? rows : { type: rows.type, stream: createReadStream(rows.file) };
  }
  return body === undefined ? undefined : { type: 'application/json', text: printJson(body) };
}

/** Sends the body and waits for the head of the answer, which may come before the body is out. */
function exchange(
  request: ClientRequest,
  body: Body | undefined,
  signal: AbortSignal | undefined,
): Promise<IncomingMessage> {
  return new Promise((done, failed) => {
    let answered = false;
    const fail = (error: unknown): void => {
      if (answered) return;
      request.destroy();
      failed(signal?.aborted ? abortReason(signal) : away(error));
    };
    request.once('response', (response) => {
      answered = true;
      done(response);
    });
    // Also after the answer: a gateway that refused may cut off a body that is still on its way.
    request.on('error', fail);
    if (body === undefined) request.end();
    else if ('text' in body) request.end(body.text);
    else {
      body.stream.once('error', fail);
      pipeline(body.stream, request).catch(fail);
    }
  });
}

function abortReason(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error('aborted');
}

function away(error: unknown): Error {
  if (error instanceof LoftError) return error;
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT' || code === 'EACCES' || code === 'EISDIR') {
    return new LoftError(400, 'unreadable_file', `The file could not be read: ${(error as Error).message}.`);
  }
  return new LoftError(
    503,
    'gateway_away',
    'The gateway can’t be reached, or its connection was lost before it answered. See whether it runs with `featureloft doctor`.',
    { cause: error },
  );
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > MAX_ANSWER_BYTES) throw new LoftError(500, 'answer_too_large', 'The answer is too large for JSON.');
      chunks.push(chunk);
    }
  } catch (error) {
    throw away(error);
  }
  return Buffer.concat(chunks).toString('utf8');
}

async function refusalOf(response: IncomingMessage): Promise<LoftError> {
  const text = await readText(response);
  const status = response.statusCode ?? 500;
  if (response.headers['content-type']?.startsWith('application/problem+json')) {
    const error = LoftError.fromDocument(parseJson(text) as unknown as ProblemDocument);
    const retryAfter = Number(response.headers['retry-after']);
    return Number.isFinite(retryAfter)
      ? new LoftError(error.status, error.code, error.detail, {
          problems: error.problems,
          extra: error.extra,
          retryAfterSeconds: retryAfter,
        })
      : error;
  }
  return new LoftError(status, 'not_a_gateway', `What answers there is no gateway: status ${status}.`);
}
