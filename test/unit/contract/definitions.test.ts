import assert from 'node:assert/strict';
import { readDefinitions } from '../../../contract/definitions';
import { LoftError } from '../../../contract/errors';
import { parseJson } from '../../../contract/json';

const store = { name: 'store', keys: { store_id: 'int64' } };

function problemsOf(raw: unknown): { path?: string; code: string }[] {
  try {
    readDefinitions(raw);
  } catch (error) {
    assert.ok(error instanceof LoftError);
    assert.equal(error.status, 422);
    assert.equal(error.code, 'bad_definition');
    return error.problems.map(({ path, code }) => ({ ...(path === undefined ? {} : { path }), code }));
  }
  return [];
}

function view(features: Record<string, unknown>, more: Record<string, unknown> = {}): unknown {
  return { entities: [store], views: [{ name: 'sales', entity: 'store', features, ...more }] };
}

describe('definitions', () => {
  it('takes a feature as its type alone, and keeps the order written', () => {
    const { views, entities } = readDefinitions(view({ revenue: 'float64', customers: { type: 'int64' } }));
    assert.deepEqual(views[0]?.features, [
      { name: 'revenue', type: 'float64' },
      { name: 'customers', type: 'int64' },
    ]);
    assert.deepEqual(entities[0]?.keys, [{ name: 'store_id', type: 'int64' }]);
  });

  it('takes a ttl of zero for none', () => {
    for (const ttl of [0, '0s', '0d'])
      assert.equal(readDefinitions(view({ a: 'bool' }, { ttl })).views[0]?.ttl, undefined);
    assert.equal(readDefinitions(view({ a: 'bool' }, { ttl: '3h' })).views[0]?.ttl, '3h');
  });

  it('sees a feature named __proto__, which must not vanish', () => {
    const raw = parseJson('{"views":[{"name":"v","entity":"store","features":{"__proto__":"float64","a":"bool"}}]}');
    assert.deepEqual(problemsOf(raw), [{ path: 'views.0.features', code: 'bad_name' }]);
    const mapped = parseJson(
      '{"views":[{"name":"v","entity":"store","features":{"a":"bool"},"source":{"dataset":"d","columns":{"__proto__":"x"}}}]}',
    );
    assert.deepEqual(problemsOf(mapped), [{ path: 'views.0.source.columns', code: 'bad_name' }]);
  });

  it('lists every problem with its path', () => {
    const raw = {
      entities: [{ name: 'store', keys: { id: 'float64' } }],
      views: [
        { name: 'Sales', entity: 'store', ttl: '3 hours', features: { a: 'double', write_seq: 'int64' } },
        { name: 'ok', entity: 'store', features: { a: 'int64' }, source: { dataset: 'd', timezone: 'Mars/Base' } },
      ],
      services: [{ name: 's', features: ['ok:a', 'ok', 'ok:a'] }],
    };
    // Names of keys and features come first: they are looked at in the raw object.
    assert.deepEqual(problemsOf(raw)[0], { path: 'views.0.features', code: 'bad_name' });
    assert.equal(problemsOf(raw).length, 1 + 7);
    const misspelt = { views: [{ ...raw.views[0], ttll: '1h', entity: undefined }], service: [] };
    assert.deepEqual(
      problemsOf(misspelt).map(({ path }) => path),
      ['', 'views.0.features', 'views.0.entity', 'views.0.ttll'],
    );
    const views = [{ ...raw.views[0], features: { a: 'double' } }, raw.views[1]];
    assert.deepEqual(problemsOf({ ...raw, views }), [
      { path: 'entities.0.keys.id', code: 'bad_key_type' },
      { path: 'views.0.name', code: 'bad_name' },
      { path: 'views.0.ttl', code: 'bad_duration' },
      { path: 'views.0.features.a.type', code: 'bad_type' },
      { path: 'views.1.source.timezone', code: 'bad_timezone' },
      { path: 'services.0.features.1', code: 'bad_reference' },
      { path: 'services.0.features', code: 'duplicate' },
    ]);
  });

  it('refuses what it does not know', () => {
    assert.deepEqual(problemsOf({ vues: [] }), [{ path: '', code: 'unknown_property' }]);
    assert.equal(problemsOf(view({ a: 'bool' }, { tll: '3h' })).length, 1);
  });

  it('holds a view to 800 features and to a page of Postgres', () => {
    const many = (count: number, type: string) =>
      view(Object.fromEntries(Array.from({ length: count }, (_, index) => [`f${index}`, type])));
    assert.deepEqual(problemsOf(many(800, 'float64')), []);
    assert.deepEqual(problemsOf(many(801, 'bool')), [{ path: 'views.0.features', code: 'feature_count' }]);
    assert.deepEqual(problemsOf(many(800, 'string')), [{ path: 'views.0.features', code: 'row_too_wide' }]);
    assert.deepEqual(problemsOf(view({})), [{ path: 'views.0.features', code: 'feature_count' }]);
  });

  it('refuses a rule that no value could keep', () => {
    const ruled = (type: string, rule: object) => problemsOf(view({ a: { type, rules: [rule] } }));
    const path = 'views.0.features.a.rules.0';
    assert.deepEqual(ruled('string', { range: [0, 1] }), [{ path: `${path}.range`, code: 'rule_unfit' }]);
    assert.deepEqual(ruled('float64', { range: [1, 0] }), [{ path: `${path}.range`, code: 'rule_unfit' }]);
    assert.deepEqual(ruled('int64', { max_length: 3 }), [{ path: `${path}.max_length`, code: 'rule_unfit' }]);
    assert.deepEqual(ruled('int32', { accepted: [1, 'two'] }), [{ path: `${path}.accepted.1`, code: 'rule_unfit' }]);
    assert.deepEqual(ruled('list<float64>', { range: [0, null] }), []);
    assert.deepEqual(ruled('string', { accepted: ['a'], on: 'warn' }), []);
    assert.deepEqual(ruled('timestamp', { not_null: true }), []);
  });
});
