import { z } from 'zod';
import { routes, RowsFromJson, type Route, type RouteName } from '../../contract/api';
import { VERSION } from '../version';

type Document = Record<string, unknown>;

let printed: string | undefined;

/** OpenAPI 3.1, from the same table that the routes and the client are made of. Made once. */
export function openApiText(): string {
  printed ??= JSON.stringify(openApiDocument());
  return printed;
}

export function openApiDocument(): Document {
  const paths: Record<string, Document> = {};
  for (const [name, route] of Object.entries<Route>(routes)) {
    const operations = (paths[route.path] ??= {});
    operations[route.method.toLowerCase()] = operationOf(name as RouteName, route);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Feature Loft',
      version: VERSION,
      description: 'The gateway of a feature store: publish, search, write and read features, and build training sets.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'The text of the file `token` in the data folder.' },
      },
      schemas: { Problem: problemSchema },
      responses: {
        Problem: {
          description: 'Refused: RFC 9457 problem JSON with a stable code',
          content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
        },
      },
    },
  };
}

function operationOf(name: RouteName, route: Route): Document {
  const parameters = [...pathParameters(route.path), ...queryParameters(route), ...(headerParameters[name] ?? [])];
  return {
    operationId: name,
    summary: route.summary,
    ...(route.public ? { security: [{}, { token: [] }] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(route.body === undefined ? {} : { requestBody: { required: true, content: bodyContent(name, route.body) } }),
    responses: {
      ...(name === 'startJob'
        ? { '202': { description: 'Taken on', content: answerContent(route.answer) } }
        : { '200': { description: 'Done', content: answerContent(route.answer) } }),
      ...(name === 'registry' || name === 'view' || name === 'feature'
        ? { '304': { description: 'As it was under the ETag of If-None-Match' } }
        : {}),
      default: { $ref: '#/components/responses/Problem' },
    },
  };
}

function pathParameters(path: string): Document[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: name === 'version' ? { type: 'integer', minimum: 1 } : { type: 'string', minLength: 1 },
  }));
}

function queryParameters(route: Route): Document[] {
  if (!route.query) return [];
  const schema = schemaOf(route.query) as { properties?: Record<string, Document>; required?: string[] };
  return Object.entries(schema.properties ?? {}).map(([name, property]) => ({
    name,
    in: 'query',
    required: schema.required?.includes(name) ?? false,
    schema: property,
  }));
}

const text = { type: 'string' };
const headerParameters: Partial<Record<RouteName, Document[]>> = {
  health: [
    {
      name: 'X-Loft-Challenge',
      in: 'header',
      schema: { type: 'string', maxLength: 256 },
      description: 'The answer’s X-Loft-Proof is HMAC-SHA256(token, challenge) in lower-case hex.',
    },
  ],
  registry: [{ name: 'If-None-Match', in: 'header', schema: text }],
  changes: [{ name: 'Last-Event-ID', in: 'header', schema: text, description: 'Resume after this event.' }],
  jobEvents: [{ name: 'Last-Event-ID', in: 'header', schema: text, description: 'Resume after this event.' }],
  writeRows: [{ name: 'Idempotency-Key', in: 'header', schema: { type: 'string', maxLength: 255 } }],
};

const binary = { type: 'string', format: 'binary' };
const rowFormats = {
  'text/csv': { schema: text },
  'application/x-ndjson': { schema: text },
  'application/vnd.apache.parquet': { schema: binary },
};

function bodyContent(name: RouteName, body: NonNullable<Route['body']>): Document {
  if (body !== 'rows') return { 'application/json': { schema: schemaOf(body) } };
  return name === 'writeRows' ? { 'application/json': { schema: schemaOf(RowsFromJson) }, ...rowFormats } : rowFormats;
}

function answerContent(answer: Route['answer']): Document {
  switch (answer) {
    case 'data':
      return rowFormats;
    case 'events':
      return { 'text/event-stream': { schema: text } };
    case 'openapi':
      return { 'application/json': { schema: { type: 'object' } } };
    default:
      return { 'application/json': { schema: schemaOf(answer, 'output') } };
  }
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output' = 'input'): Document {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any', reused: 'inline' });
  return inlined(rest);
}

/** Schemas with an `id` are put into `$defs` of each document; OpenAPI looks for references from its own root. */
function inlined({ $defs, ...schema }: Document): Document {
  const definitions = ($defs ?? {}) as Record<string, Document>;
  const walk = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(walk);
    if (typeof value !== 'object' || value === null) return value;
    const object = value as Document;
    const name = typeof object['$ref'] === 'string' ? /^#\/\$defs\/(.+)$/.exec(object['$ref'])?.[1] : undefined;
    if (name !== undefined) return walk(definitions[name]);
    return Object.fromEntries(Object.entries(object).map(([key, member]) => [key, walk(member)]));
  };
  return walk(schema) as Document;
}

const problemSchema = {
  type: 'object',
  required: ['type', 'title', 'status', 'code', 'detail'],
  properties: {
    type: text,
    title: text,
    status: { type: 'integer' },
    code: { type: 'string', description: 'Stable; what programs test.' },
    detail: { type: 'string', description: 'What was found, what is expected, and the next step.' },
    problems: {
      type: 'array',
      maxItems: 100,
      items: {
        type: 'object',
        required: ['code'],
        properties: {
          path: text,
          row: { type: 'integer' },
          field: text,
          code: text,
          found: text,
          expected: text,
        },
      },
    },
  },
};
