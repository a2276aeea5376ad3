import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { LoftError } from '../../contract/errors';
import { printJson } from '../../contract/json';
import { systemCode } from '../fileErrors';
import type { Guard } from './guard';
import { refuse } from './respond';

const HEADERS_TIMEOUT_MS = 10_000;
/** For the whole of a request; a large upload that flows is in time, and one that stalls is ended much earlier (body.ts). */
const REQUEST_TIMEOUT_MS = 600_000;
const KEEP_ALIVE_MS = 60_000;
const TIMEOUTS_CHECKED_EVERY_MS = 1_000;
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_CONNECTIONS = 4_096;
/** More at once would only wait for each other: they are told at once to come back. */
const MAX_IN_FLIGHT = 1_024;

/** A route answered ahead of Express: true when it took the request. The guard has let the request pass. */
export type HotRoute = (request: IncomingMessage, response: ServerResponse) => boolean;

export interface HttpServerOptions {
  guard: Guard;
  app: RequestListener;
  hotRoutes?: HotRoute[];
}

/** The one HTTP server. Every request passes the guard before anything else looks at it. */
export interface HttpServer {
  /** Answers the port. Throws LoftError 409 `port_taken`. */
  listen(host: string, port: number): Promise<number>;
  /** Takes no new request, waits a while for those under way, then cuts off what is left. */
  close(drainMs: number): Promise<void>;
}

export function createHttpServer({ guard, app, hotRoutes = [] }: HttpServerOptions): HttpServer {
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    // The guard answers a missing Host, with a problem document.
    requireHostHeader: false,
    connectionsCheckingInterval: TIMEOUTS_CHECKED_EVERY_MS,
  });
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.maxConnections = MAX_CONNECTIONS;
  server.maxHeadersCount = 100;

  let inFlight = 0;
  let onQuiet: (() => void) | undefined;
  const take = (request: IncomingMessage, response: ServerResponse): void => {
    if (inFlight >= MAX_IN_FLIGHT) {
      refuse(request, response, overloaded);
      return;
    }
    inFlight++;
    response.once('close', () => {
      inFlight--;
      if (inFlight === 0) onQuiet?.();
    });
    for (const route of hotRoutes) if (route(request, response)) return;
    app(request, response);
  };
  server.on('request', (request, response) => {
    const refusal = guard(request);
    if (refusal) refuse(request, response, refusal);
    else take(request, response);
  });
  // `Expect: 100-continue` asks before it sends the body: a refusal spares both sides the bytes.
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    const refusal = guard(request);
    if (refusal) {
      refuse(request, response, refusal);
      return;
    }
    response.writeContinue();
    take(request, response);
  });
  server.on('clientError', answerBrokenRequest);
  return {
    listen: (host, port) => listen(server, host, port),
    close: async (drainMs) => {
      const closed = new Promise<void>((done) => server.close(() => done()));
      // Node counts a connection that has not asked for anything yet as busy, and would wait for it.
      const cut = (): void => server.closeAllConnections();
      onQuiet = () => setImmediate(cut);
      if (inFlight === 0) cut();
      const timer = setTimeout(cut, drainMs);
      await closed;
      clearTimeout(timer);
    },
  };
}

function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || (socket as Socket).bytesWritten > 0) {
    socket.destroy();
    return;
  }
  const refusal = brokenRequests[error.code ?? ''] ?? badHttp;
  const body = printJson(refusal.toDocument());
  const { status, title } = refusal.toDocument();
  socket.end(
    `HTTP/1.1 ${status} ${title}\r\ncontent-type: application/problem+json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

const overloaded = new LoftError(
  503,
  'overloaded',
  `${MAX_IN_FLIGHT} requests are being answered already. Try again shortly.`,
  { retryAfterSeconds: 1 },
);
const badHttp = new LoftError(400, 'bad_http', 'The request is not valid HTTP/1.1.');
const brokenRequests: Record<string, LoftError> = {
  HPE_HEADER_OVERFLOW: new LoftError(
    431,
    'headers_too_large',
    `The request’s headers are larger than ${MAX_HEADER_BYTES} bytes.`,
  ),
  ERR_HTTP_REQUEST_TIMEOUT: new LoftError(408, 'request_too_slow', 'The request did not arrive in time.'),
};

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((done, failed) => {
    const fail = (error: Error): void => {
      const code = systemCode(error);
      if (code === 'EADDRINUSE') {
        failed(
          new LoftError(
            409,
            'port_taken',
            `Port ${port} of ${host} is taken by another program. Name another one with --port, or leave it out: any free port will do.`,
          ),
        );
      } else if (code === 'EACCES') {
        failed(
          new LoftError(403, 'port_forbidden', `This account may not listen on port ${port}. Use one above 1023.`),
        );
      } else failed(error);
    };
    server.once('error', fail);
    server.listen({ host, port, exclusive: true }, () => {
      server.off('error', fail);
      done((server.address() as AddressInfo).port);
    });
  });
}
