import assert from 'node:assert/strict';
import { routes, type Route } from '../../../contract/api';
import { openApiDocument } from '../../../server/http/openapi';

interface Operation {
  operationId: string;
  parameters?: { name: string; in: string; required?: boolean; schema: object }[];
  requestBody?: { content: Record<string, { schema: object }> };
  responses: Record<string, object>;
}

describe('the OpenAPI page', () => {
  const document = openApiDocument() as unknown as {
    paths: Record<string, Record<string, Operation>>;
    openapi: string;
  };

  it('has each route of the table once, with its parameters, body and refusals', () => {
    assert.equal(document.openapi, '3.1.0');
    const seen = new Set<string>();
    for (const [name, route] of Object.entries<Route>(routes)) {
      const operation = document.paths[route.path]?.[route.method.toLowerCase()];
      assert.equal(operation?.operationId, name);
      seen.add(operation.operationId);
      assert.deepEqual(
        (operation.parameters ?? []).filter((parameter) => parameter.in === 'path').map(({ name: of }) => of),
        [...route.path.matchAll(/\{(\w+)\}/g)].map(([, of]) => of),
      );
      assert.equal(operation.requestBody !== undefined, route.body !== undefined);
      assert.ok('default' in operation.responses);
    }
    assert.equal(seen.size, Object.keys(routes).length);
  });

  it('has no reference that leads nowhere', () => {
    const references = new Set<string>();
    JSON.stringify(document, (key, value: unknown) => {
      if (key === '$ref') references.add(String(value));
      return value;
    });
    for (const reference of references) {
      let found: unknown = document;
      for (const part of reference.slice(2).split('/')) found = (found as Record<string, unknown>)[part];
      assert.ok(found, reference);
    }
    assert.deepEqual([...references].sort(), ['#/components/responses/Problem', '#/components/schemas/Problem']);
  });
});
