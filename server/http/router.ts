import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import { z } from 'zod';
import { PlanRequest, PublishRequest, routes, type Route, type RouteName } from '../../contract/api';
import { LoftError } from '../../contract/errors';
import { printJson } from '../../contract/json';
import type {
  DataRouteName,
  EventsRouteName,
  JsonRouteName,
  RouteAnswer,
  RouteBody,
  RouteParams,
  RouteQuery,
} from '../../contract/routeTypes';
import type { Log } from '../log';
import { parseBy, readJson } from './body';
import { EventStream } from './events';
import { carriesToken } from './guard';
import { contentTypes } from './negotiate';
import { openApiText } from './openapi';
import { JsonReply, type FileReply } from './reply';
import { refuse, sendJson, toRefusal } from './respond';

/** What a handler gets, parsed. */
export interface RouteRequest<Name extends RouteName> {
  params: RouteParams<Name>;
  query: RouteQuery<Name>;
  /** Undefined for routes without a JSON body; rows are read from `raw`. */
  body: RouteBody<Name>;
  raw: IncomingMessage;
  /** Only a public route is ever asked without. */
  hasToken: boolean;
}

type JsonHandler<Name extends JsonRouteName> = (
  request: RouteRequest<Name>,
) => Promise<RouteAnswer<Name> | JsonReply<RouteAnswer<Name>>>;
type DataHandler<Name extends DataRouteName> = (request: RouteRequest<Name>) => Promise<FileReply>;
/** Feeds the stream until it closes; whatever it throws before the first event is answered as a problem. */
type EventsHandler<Name extends EventsRouteName> = (request: RouteRequest<Name>, open: OpenEvents) => Promise<void>;
export type OpenEvents = () => EventStream;

export type Handlers = { [Name in JsonRouteName]: JsonHandler<Name> } & {
  [Name in DataRouteName]: DataHandler<Name>;
} & { [Name in EventsRouteName]: EventsHandler<Name> };

/** Registry pages change with each publish only a little: a client that has the newest gets 304. */
const tagged = new Set<RouteName>(['registry', 'view', 'feature']);

/**
 * `definitions` are checked by `readDefinitions`, whose problems have the words and the places that authors of definitions
 * need, and on the raw object: a schema library would lose a key named `__proto__`.
 */
const bodySchemas: Partial<Record<RouteName, z.ZodType>> = {
  plan: PlanRequest.extend({ definitions: z.unknown() }),
  publish: PublishRequest.extend({ definitions: z.unknown() }),
};

export function createApp(handlers: Handlers, log: Log): Express {
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.set('query parser', false);
  app.set('case sensitive routing', true);
  app.set('strict routing', true);
  app.set('env', 'production');

  const names = (Object.keys(routes) as RouteName[]).sort((a, b) => bySpecificity(routes[a].path, routes[b].path));
  for (const name of names) {
    const route: Route = routes[name];
    const serve = async (request: Request, response: Response): Promise<void> => {
      await answer(name, request, response, handlers);
    };
    const path = expressPath(route.path);
    if (route.method === 'GET') app.get(path, serve);
    else if (route.method === 'POST') app.post(path, serve);
    else app.delete(path, serve);
  }
  for (const path of new Set(names.map((name) => routes[name].path))) {
    const methods = names.filter((name) => routes[name].path === path).map((name) => routes[name].method);
    const allow = methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ');
    app.all(expressPath(path), (request) => {
      throw new LoftError(405, 'method_not_allowed', `${path} takes ${allow}, not ${request.method}.`, {
        extra: { allow },
      });
    });
  }
  app.use((request) => {
    throw new LoftError(
      404,
      'no_such_route',
      `There is no ${request.path.slice(0, 200)} here; /v1/openapi.json lists what is.`,
    );
  });
  // Express knows an error handler by its four parameters.
  app.use((error: unknown, request: Request, response: Response, _next: NextFunction) => {
    refuse(request, response, toRefusal(readable(error), log, `${request.method} ${request.path}`));
  });
  return app;
}

async function answer(name: RouteName, request: Request, response: Response, handlers: Handlers): Promise<void> {
  const route: Route = routes[name];
  if (route.answer === 'openapi') {
    sendJson(response, 200, openApiText());
    return;
  }
  if (Object.values(request.params).some((value) => String(value).includes('\0')))
    throw new LoftError(400, 'bad_path', 'The path holds a NUL character.');
  const parsed = {
    params: request.params,
    query: parseQuery(route, request),
    body:
      route.body === undefined || route.body === 'rows'
        ? undefined
        : parseBy(bodySchemas[name] ?? route.body, await readJson(request), 422, 'bad_request'),
    raw: request,
    hasToken: carriesToken(request),
  };
  // The table pairs each name with its own handler; that `name` picks both is beyond the type checker.
  const handler = handlers[name as JsonRouteName] as (request: unknown, open?: OpenEvents) => Promise<unknown>;
  if (route.answer === 'events') {
    await handler(parsed, () => EventStream.open(request, response));
    return;
  }
  const result = await handler(parsed);
  if (route.answer === 'data') await sendFile(response, result as FileReply);
  else sendResult(name, request, response, result);
}

function sendResult(name: RouteName, request: Request, response: Response, result: unknown): void {
  const reply = result instanceof JsonReply ? result : new JsonReply({ value: result });
  const text = 'text' in reply.body ? reply.body.text : printJson(reply.body.value);
  const headers: Record<string, string> = { ...reply.options.headers };
  if (tagged.has(name)) {
    const tag = `"${createHash('sha256').update(text).digest('base64url').slice(0, 27)}"`;
    headers['etag'] = tag;
    headers['cache-control'] = 'no-cache';
    if (matches(request.headers['if-none-match'], tag)) {
      response.writeHead(304, { etag: tag, 'cache-control': 'no-cache' }).end();
      return;
    }
  }
  sendJson(response, reply.options.status ?? 200, text, headers);
}

function matches(header: string | undefined, tag: string): boolean {
  return header?.split(',').some((one) => ['*', tag].includes(one.trim().replace(/^W\//, ''))) ?? false;
}

async function sendFile(response: ServerResponse, { file, headers }: FileReply): Promise<void> {
  try {
    response.writeHead(200, {
      'content-type': contentTypes[file.format],
      'content-length': file.bytes,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      vary: 'accept',
      ...headers,
    });
    // Cut off in the middle: what was sent can't be taken back, and the client knows by Content-Length.
    await pipeline(createReadStream(file.path), response).catch(() => response.destroy());
  } finally {
    await file.release();
  }
}

function parseQuery(route: Route, request: IncomingMessage): unknown {
  const url = request.url ?? '';
  const mark = url.indexOf('?');
  const query: Record<string, string> = {};
  for (const [name, value] of new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1))) {
    if (Object.hasOwn(query, name)) throw badQuery(`The query names ${name.slice(0, 50)} twice.`);
    if (value.includes('\0')) throw badQuery(`The query’s ${name.slice(0, 50)} holds a NUL character.`);
    Object.defineProperty(query, name, { value, enumerable: true });
  }
  return parseBy(route.query ?? z.strictObject({}), query, 400, 'bad_query');
}

function badQuery(detail: string): LoftError {
  return new LoftError(400, 'bad_query', detail);
}

/** What Express itself raises for a path that is not percent-encoded UTF-8. */
function readable(error: unknown): unknown {
  return error instanceof URIError ? new LoftError(400, 'bad_path', 'The path is not percent-encoded UTF-8.') : error;
}

function expressPath(path: string): string {
  return path.replace(/\{(\w+)\}/g, ':$1');
}

/** Express takes the first route that fits: fixed segments go before parameters. */
function bySpecificity(a: string, b: string): number {
  const [one, two] = [a.split('/'), b.split('/')];
  for (const [at, segment] of one.entries()) {
    const other = two[at];
    if (other === undefined) break;
    const order = Number(segment.startsWith('{')) - Number(other.startsWith('{'));
    if (order !== 0) return order;
  }
  return one.length - two.length;
}
