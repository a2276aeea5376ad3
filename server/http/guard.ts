import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { routes, type Route } from '../../contract/api';
import { LoftError } from '../../contract/errors';
import type { JobTokens } from './jobTokens';

/** Says why a request is refused, from its head alone: no byte of its body is needed, nor read. */
export type Guard = (request: IncomingMessage) => LoftError | undefined;

export interface GuardOptions {
  token: string;
  jobTokens: JobTokens;
  /** `host:port` pairs that this server is known by, lower case. Asked at each request: the port is known late. */
  hosts: () => ReadonlySet<string>;
}

/**
 * The one gate of the gateway. In this order: an unknown Host is 421 (a web page that rebinds its name to 127.0.0.1), a
 * foreign Origin is 403, a missing or wrong token is 401, also for routes that do not exist. It is a plain function of
 * the request's head, so that a route answered ahead of Express passes the same gate.
 */
export function createGuard({ token, jobTokens, hosts }: GuardOptions): Guard {
  const expected = digest(token);
  return (request) => {
    const known = hosts();
    const host = onlyHeader(request, 'host');
    if (host === undefined || !known.has(host.toLowerCase()) || !request.url?.startsWith('/')) {
      return new LoftError(
        421,
        'unknown_host',
        `This gateway does not go by the Host ${quoted(host)}. Ask it as ${[...known].join(' or ')}.`,
      );
    }
    const origin = request.headers.origin;
    if (origin !== undefined && !isOwnOrigin(origin, known)) {
      return new LoftError(403, 'foreign_origin', 'Web pages of other origins may not use this gateway.');
    }
    const authorization = onlyHeader(request, 'authorization');
    if (authorization === undefined) {
      if (isPublic(request)) return undefined;
      return unauthorized('This request carries no token. Send it as `Authorization: Bearer <token>`.');
    }
    const given = bearerToken(authorization);
    if (given === undefined) return unauthorized('The Authorization header must be `Bearer <token>`.');
    if (timingSafeEqual(digest(given), expected)) return undefined;
    const scope = jobTokens.scopeOf(given);
    if (!scope) return unauthorized('The token is not the one of this gateway. Its owner finds it in the data folder.');
    if (scope(request.method ?? '', pathOfRequest(request))) return undefined;
    return new LoftError(403, 'out_of_scope', 'The token of a training job may only read its training data.');
  };
}

/** Whether a request that passed the guard carries a token: a public route tells more to who does. */
export function carriesToken(request: IncomingMessage): boolean {
  return request.headers.authorization !== undefined;
}

function pathOfRequest(request: IncomingMessage): string {
  return (request.url ?? '').split('?', 1)[0] ?? '';
}

function unauthorized(detail: string): LoftError {
  return new LoftError(401, 'unauthorized', detail);
}

const publicPaths = new Set(
  Object.values<Route>(routes)
    .filter((route) => route.public)
    .map((route) => route.path),
);

function isPublic(request: IncomingMessage): boolean {
  return (request.method === 'GET' || request.method === 'HEAD') && publicPaths.has(pathOfRequest(request));
}

/** Node keeps the first of a doubled header and drops the rest; whoever sends two wants to be understood two ways. */
function onlyHeader(request: IncomingMessage, name: string): string | undefined {
  let found: string | undefined;
  for (let at = 0; at < request.rawHeaders.length; at += 2) {
    if (request.rawHeaders[at]?.toLowerCase() !== name) continue;
    if (found !== undefined) return undefined;
    found = request.rawHeaders[at + 1];
  }
  return found;
}

function isOwnOrigin(origin: string, hosts: ReadonlySet<string>): boolean {
  return origin.startsWith('http://') && hosts.has(origin.slice('http://'.length).toLowerCase());
}

function bearerToken(authorization: string): string | undefined {
  return /^bearer +([!-~]{1,512})$/i.exec(authorization)?.[1];
}

/** Equal lengths for the comparison in constant time. */
function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

function quoted(host: string | undefined): string {
  return host === undefined ? '(none, or more than one)' : JSON.stringify(host.slice(0, 100));
}
