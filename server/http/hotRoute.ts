import type { Log } from '../log';
import { routes, type Route } from '../../contract/api';
import type { JsonRouteName } from '../../contract/routeTypes';
import { parseBy, readJson } from './body';
import { carriesToken } from './guard';
import type { HotRoute } from './httpServer';
import { JsonReply } from './reply';
import { refuse, sendJson, toRefusal } from './respond';
import type { Handlers, RouteRequest } from './router';
import { printJson } from '../../contract/json';

/**
 * Answers a POST route that is asked many times a second ahead of Express, which costs as much again as the work itself. Only the
 * plain form of a request is taken; anything else, such as a query, goes the common way and is answered there in the same words.
 */
export function hotRoute<Name extends JsonRouteName>(name: Name, handlers: Pick<Handlers, Name>, log: Log): HotRoute {
  const route: Route = routes[name];
  const { path, body } = route;
  if (body === undefined || body === 'rows') throw new Error(`${name} has no JSON body`);
  const handler = handlers[name] as (request: RouteRequest<Name>) => Promise<unknown>;
  return (request, response) => {
    if (request.url !== path || request.method !== route.method) return false;
    const answer = async (): Promise<void> => {
      const parsed = parseBy(body, await readJson(request), 422, 'bad_request');
      const given = { params: {}, query: {}, body: parsed, raw: request, hasToken: carriesToken(request) };
      const result = await handler(given as RouteRequest<Name>);
      const reply = result instanceof JsonReply ? result.body : { value: result };
      sendJson(response, 200, 'text' in reply ? reply.text : printJson(reply.value));
    };
    answer().catch((error: unknown) => refuse(request, response, toRefusal(error, log, `${route.method} ${path}`)));
    return true;
  };
}
