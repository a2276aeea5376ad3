import type { z } from 'zod';
import type { Route, RouteName, routes } from './api';

/** What a route takes and gives, read off the table in api.ts: for its handler, and for whoever calls it. */
type At<Name extends RouteName> = (typeof routes)[Name];

type ParameterNames<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}`
  ? Name | ParameterNames<Rest>
  : never;
export type RouteParams<Name extends RouteName> = Record<ParameterNames<At<Name>['path']>, string>;

/** As the handler gets it: parsed, defaults filled in. */
export type RouteQuery<Name extends RouteName> =
  At<Name> extends { query: infer Schema extends z.ZodType } ? z.output<Schema> : Record<never, never>;
/** As the caller gives it. */
export type RouteQueryInput<Name extends RouteName> =
  At<Name> extends { query: infer Schema extends z.ZodType } ? z.input<Schema> : Record<never, never>;

export type RouteBody<Name extends RouteName> =
  At<Name> extends { body: infer Schema extends z.ZodType } ? z.output<Schema> : undefined;
export type RouteBodyInput<Name extends RouteName> =
  At<Name> extends { body: infer Schema extends z.ZodType } ? z.input<Schema> : undefined;

export type RouteAnswer<Name extends RouteName> =
  At<Name> extends { answer: infer Schema extends z.ZodType } ? z.output<Schema> : never;

/** The routes whose body is rows: CSV, NDJSON, Parquet or JSON. */
export type RowsRouteName = { [Name in RouteName]: At<Name> extends { body: 'rows' } ? Name : never }[RouteName];
/** The routes that answer stored data in the format asked for. */
export type DataRouteName = { [Name in RouteName]: At<Name> extends { answer: 'data' } ? Name : never }[RouteName];
/** The routes that answer a stream of server-sent events. */
export type EventsRouteName = { [Name in RouteName]: At<Name> extends { answer: 'events' } ? Name : never }[RouteName];
/** The routes that answer one JSON document. */
export type JsonRouteName = Exclude<RouteName, DataRouteName | EventsRouteName | 'openapi'>;

/** Fills `{name}` in a route's path. Parameters are encoded, so that none can reach another path. */
export function pathOf(route: Route, params: Readonly<Record<string, string>>): string {
  return route.path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = params[name];
    if (value === undefined || value === '') throw new Error(`The path ${route.path} needs ${name}.`);
    return encodeURIComponent(value);
  });
}
