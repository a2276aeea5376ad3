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
/** What is being answered when the server closes gets this long. */
const DRAIN_MS = 10_000;

/** A route answered ahead of Express: true when it took the request. The guard has let the request pass. */
export type HotRoute = (request: IncomingMessage, response: ServerResponse) => boolean;

export interface HttpServerOptions {
  guard: Guard;
  app: RequestListener;
  hotRoutes?: HotRoute[];
}

/** The one HTTP server. Every request passes the guard before anything else looks at it. */
export function createHttpServer({ guard, app, hotRoutes = [] }: HttpServerOptions): Server {
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

  const take = (request: IncomingMessage, response: ServerResponse): void => {
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
  // No route upgrades: without a listener, Node would hand the request to the guard as a plain one; so it does.
  return server;
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

const badHttp = new LoftError(400, 'bad_http', 'The request is not valid HTTP/1.1.');
const brokenRequests: Record<string, LoftError> = {
  HPE_HEADER_OVERFLOW: new LoftError(
    431,
    'headers_too_large',
    `The request’s headers are larger than ${MAX_HEADER_BYTES} bytes.`,
  ),
  ERR_HTTP_REQUEST_TIMEOUT: new LoftError(408, 'request_too_slow', 'The request did not arrive in time.'),
};

/** Listens and answers the port. A taken port is a 409 with a way out. */
export function listen(server: Server, host: string, port: number): Promise<number> {
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

/** Takes no new request, waits for those under way, then cuts off what is left. */
export async function closeHttpServer(server: Server, drainMs = DRAIN_MS): Promise<void> {
  const closed = new Promise<void>((done) => server.close(() => done()));
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), drainMs);
  await closed;
  clearTimeout(timer);
}
