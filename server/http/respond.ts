import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { LoftError } from '../../contract/errors';
import { printJson } from '../../contract/json';
import type { Log } from '../log';

export type Headers = Readonly<Record<string, string>>;

/** What a refused sender may still send before its connection is cut. */
const REFUSED_BODY_BYTES = 256 * 1024;
const REFUSED_BODY_MS = 1_000;

export function sendJson(response: ServerResponse, status: number, text: string, headers: Headers = {}): void {
  send(response, status, 'application/json; charset=utf-8', text, headers);
}

function sendProblem(response: ServerResponse, error: LoftError): void {
  const headers: Record<string, string> = {};
  if (error.status === 401) headers['www-authenticate'] = 'Bearer realm="featureloft"';
  if (error.retryAfterSeconds !== undefined) headers['retry-after'] = String(Math.ceil(error.retryAfterSeconds));
  const allow = error.extra['allow'];
  if (error.status === 405 && typeof allow === 'string') headers['allow'] = allow;
  send(response, error.status, 'application/problem+json; charset=utf-8', printJson(error.toDocument()), headers);
}

function send(response: ServerResponse, status: number, type: string, text: string, headers: Headers): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const body = Buffer.from(text);
  response.writeHead(status, {
    'content-type': type,
    'content-length': body.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...headers,
  });
  response.end(body);
}

/**
 * Answers before the body was read, and then cuts off a sender that goes on sending: closing at once could destroy the answer
 * in its receive buffer, and reading on would let anybody without a token feed us for ever.
 */
export function refuse(request: IncomingMessage, response: ServerResponse, error: LoftError): void {
  if (!request.complete) {
    let left = REFUSED_BODY_BYTES;
    request.on('data', (chunk: Buffer) => {
      left -= chunk.length;
      // Its sender has to wait then, and finds the answer while it does.
      if (left < 0) request.pause();
    });
    response.once('finish', () => {
      if (request.complete) return;
      const timer = setTimeout(() => request.socket.destroy(), REFUSED_BODY_MS);
      request.once('close', () => clearTimeout(timer));
      request.once('end', () => clearTimeout(timer));
    });
  }
  sendProblem(response, error);
}

/**
 * What a client is told about an error: its own words if it is a refusal; otherwise only a number under which the log has the
 * rest, for a stack or a statement's text may hold what is nobody's business.
 */
export function toRefusal(error: unknown, log: Log, where: string): LoftError {
  if (error instanceof LoftError) {
    if (error.status >= 500) log.error('refused', error, { where, code: error.code });
    return error;
  }
  const reference = randomBytes(6).toString('hex');
  log.error('failed', error, { where, reference });
  return new LoftError(
    500,
    'internal',
    `Something went wrong that is not your mistake. The gateway's log has it under ${reference}.`,
    { extra: { reference } },
  );
}
