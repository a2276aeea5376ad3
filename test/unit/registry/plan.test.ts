import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { LoftError } from '../../../contract/errors';
import { planHash } from '../../../server/registry/plan';
import type { RegistrySnapshot } from '../../../server/registry/snapshot';
import { after, nothing, plan, published, weather, weatherWith } from './published';

function problemsOf(snapshot: RegistrySnapshot, definitions: object, more: { remove?: string[] } = {}): string[] {
  try {
    plan(snapshot, definitions, more);
  } catch (error) {
    const { code, status, problems } = error as LoftError;
    assert.deepEqual([status, code], [422, 'bad_definition'], String(error));
    return problems.map((problem) => `${problem.path} ${problem.code}: ${problem.expected}`);
  }
  return [];
}

describe('plan', () => {
  const standing = published(weather);

  it('creates entities, views and services, and shows the table', () => {
    const { changes, replaced } = plan(nothing, weather);
    assert.deepEqual(
      changes.map((change) => [change.action, change.kind, change.name, change.version, change.class]),
      [
        ['create', 'entity', 'airport', undefined, 'additive'],
        ['create', 'view', 'weather', 1, 'additive'],
        ['create', 'service', 'delay', undefined, 'additive'],
      ],
    );
    assert.deepEqual(replaced, []);
    assert.deepEqual(changes[1]?.properties.slice(0, 3), [
      { path: 'entity', new: 'airport' },
      { path: 'tags', new: ['hourly'] },
      { path: 'ttl', new: '3h' },
    ]);
    assert.match(
      changes[1]?.sql[0] ?? '',
      /^CREATE TABLE "features"\."weather_v1" \(\n {2}"origin" text COLLATE "C" NOT NULL,\n {2}"temp" double precision,/,
    );
    assert.match(changes[1]?.sql[0] ?? '', /PRIMARY KEY \("origin"\)/);
  });

  it('finds nothing to do for what stands, however it is written', () => {
    assert.deepEqual(plan(standing, weather).changes, []);
    const same = {
      ...weatherWith({
        tags: ['hourly', 'hourly'],
        owner: '',
        features: { wind: { type: 'float64', tags: [] }, temp: { type: 'float64', description: 'Temperature in °F' } },
      }),
    };
    assert.deepEqual(plan(standing, same).changes, []);
  });

  it('says what changed of words, ttl and rules, one property an entry', () => {
    const { changes, steps } = plan(
      standing,
      weatherWith({
        ttl: '2h',
        owner: 'ops@example.org',
        tags: [],
        features: { temp: { type: 'float64', rules: [{ range: [-80, 150] }] }, wind: 'float64' },
      }),
    );
    assert.equal(changes.length, 1);
    assert.deepEqual(
      [changes[0]?.action, changes[0]?.kind, changes[0]?.name, changes[0]?.version, changes[0]?.class],
      ['update', 'view', 'weather', 1, 'metadata'],
    );
    assert.deepEqual(
      changes[0]?.properties.sort((a, b) => (a.path < b.path ? -1 : 1)),
      [
        { path: 'features.temp.description', old: 'Temperature in °F' },
        { path: 'features.temp.rules', new: [{ range: [-80, 150], on: 'reject' }] },
        { path: 'owner', new: 'ops@example.org' },
        { path: 'tags', old: ['hourly'] },
        { path: 'ttl', old: '3h', new: '2h' },
      ],
    );
    assert.deepEqual(changes[0]?.affects, { services: ['delay'], trainingSets: [] });
    assert.ok(steps.every((step) => step.do !== 'sql'));
  });

  it('adds a feature to the version that stands', () => {
    const { changes, replaced } = plan(
      standing,
      weatherWith({
        features: {
          temp: { type: 'float64', description: 'Temperature in °F' },
          wind: 'float64',
          tags: 'list<string>',
        },
      }),
    );
    assert.deepEqual(
      changes.map((change) => [change.version, change.class, change.properties, change.affects.services, change.sql]),
      [
        [
          1,
          'additive',
          [{ path: 'features.tags.type', new: 'list<string>' }],
          [],
          ['ALTER TABLE "features"."weather_v1"\n  ADD COLUMN "tags" text[]'],
        ],
      ],
    );
    assert.deepEqual(replaced, []);
  });

  for (const [what, view, path] of [
    ['another type', { features: { temp: 'float32', wind: 'float64' } }, 'features.temp.type'],
    ['a removed feature', { features: { temp: 'float64' } }, 'features.wind.type'],
  ] as const)
    it(`takes all changes of a view into the next version for ${what}`, () => {
      const { changes, replaced, steps } = plan(standing, weatherWith({ ...view, ttl: '9h' }));
      assert.deepEqual(
        changes.map((change) => [change.action, change.version, change.class, change.affects.services]),
        [['update', 2, 'breaking', ['delay']]],
      );
      const paths = changes[0]?.properties.map((property) => property.path) ?? [];
      assert.ok(paths.includes(path) && paths.includes('ttl'), paths.join());
      assert.deepEqual(replaced, [{ view: 'weather', version: 1 }]);
      const next = after(standing, { changes, replaced, steps });
      assert.equal(next.views.get('weather')?.get(1)?.definition.ttl, '3h');
      assert.equal(next.views.get('weather')?.get(2)?.definition.ttl, '9h');
      // The service was resolved when it was first published, and keeps version 1.
      assert.deepEqual(next.services.get('delay')?.resolved, [{ view: 'weather', version: 1, feature: 'temp' }]);
    });

  it('makes a next version of every view of an entity whose keys change, also of those not named', () => {
    const { changes } = plan(standing, {
      entities: [{ name: 'airport', keys: { origin: 'string', terminal: 'int32' } }],
    });
    assert.deepEqual(
      changes.map((change) => [change.kind, change.name, change.version, change.class, change.properties]),
      [
        ['entity', 'airport', undefined, 'breaking', [{ path: 'keys.terminal', new: 'int32' }]],
        ['view', 'weather', 2, 'breaking', [{ path: 'keys.terminal', new: 'int32' }]],
      ],
    );
  });

  it('takes the order of keys for part of the key', () => {
    const two = published({ entities: [{ name: 'route', keys: { origin: 'string', dest: 'string' } }] });
    const { changes } = plan(two, { entities: [{ name: 'route', keys: { dest: 'string', origin: 'string' } }] });
    assert.deepEqual(changes[0]?.properties, [{ path: 'keys', old: ['origin', 'dest'], new: ['dest', 'origin'] }]);
    assert.equal(changes[0]?.class, 'breaking');
  });

  it('deprecates as an action of its own', () => {
    const temp = { type: 'float64', description: 'Temperature in °F', deprecated: 'use temp_c' };
    const { changes, steps, replaced } = plan(
      standing,
      weatherWith({ ttl: '1h', features: { temp, wind: 'float64' } }),
    );
    assert.deepEqual(
      changes.map((change) => [change.action, change.kind, change.name, change.class, change.properties]),
      [
        ['update', 'view', 'weather', 'metadata', [{ path: 'ttl', old: '3h', new: '1h' }]],
        ['deprecate', 'feature', 'weather:temp', 'metadata', [{ path: 'features.temp.deprecated', new: 'use temp_c' }]],
      ],
    );
    const next = after(standing, { changes, steps, replaced });
    assert.equal(next.views.get('weather')?.get(1)?.definition.features[0]?.deprecated, 'use temp_c');
  });

  it('keeps the versions of a service, and resolves new references now', () => {
    const second = published(weather, weatherWith({ features: { temp: 'float32', wind: 'float64' } }));
    const { steps } = plan(second, { services: [{ name: 'delay', features: ['weather:temp', 'weather:wind'] }] });
    const put = steps.find((step) => step.do === 'putService');
    assert.deepEqual(put?.service.resolved, [
      { view: 'weather', version: 1, feature: 'temp' },
      { view: 'weather', version: 2, feature: 'wind' },
    ]);
  });

  it('removes by name, says who uses it, and moves tables to the trash', () => {
    const { changes } = plan(
      { ...standing, trainingSets: [trainingSet('weather', 1, 'wind')] },
      {},
      { remove: ['weather'] },
    );
    assert.deepEqual(changes, [
      {
        action: 'remove',
        kind: 'view',
        name: 'weather',
        class: 'breaking',
        properties: [],
        affects: { services: ['delay'], trainingSets: ['delays'] },
        sql: [
          'ALTER TABLE "features"."weather_v1" SET SCHEMA "trash"',
          'ALTER TABLE "trash"."weather_v1" RENAME TO "weather_v1_2"',
        ],
      },
    ]);
    const all = plan(standing, {}, { remove: ['weather', 'service:delay', 'entity:airport'] });
    assert.deepEqual(
      all.changes.map((change) => [change.kind, change.affects.services]),
      [
        ['service', []],
        ['view', []],
        ['entity', []],
      ],
    );
    assert.deepEqual(after(standing, all).views.size, 0);
  });

  it('counts a service that is changed in the same publish as it will be', () => {
    const wide = published(weather, {
      entities: weather.entities,
      views: [{ name: 'planes', entity: 'airport', features: { age: 'int32' } }],
    });
    const { changes } = plan(
      wide,
      { services: [{ name: 'delay', features: ['planes:age'] }] },
      { remove: ['weather'] },
    );
    assert.deepEqual(changes.find((change) => change.action === 'remove')?.affects.services, []);
  });

  it('removes one feature by making a version without it', () => {
    const { changes } = plan(standing, {}, { remove: ['weather:wind'] });
    assert.deepEqual(
      changes.map((change) => [change.action, change.version, change.class, change.properties]),
      [['update', 2, 'breaking', [{ path: 'features.wind.type', old: 'float64' }]]],
    );
  });

  it('gives no number twice', () => {
    const { changes } = plan(nothing, weather, { lastVersions: { weather: 3 } });
    assert.equal(changes.find((change) => change.kind === 'view')?.version, 4);
  });

  it('keeps the numbers of an export', () => {
    const view = weather.views[0];
    const { changes } = plan(nothing, {
      entities: weather.entities,
      views: [
        { ...view, version: 3, features: { temp: 'float32' } },
        { ...view, version: 1 },
      ],
    });
    assert.deepEqual(
      changes.filter((change) => change.kind === 'view').map((change) => [change.version, change.class]),
      [
        [1, 'additive'],
        [3, 'additive'],
      ],
    );
  });

  it('lists every problem with its place, and near names', () => {
    assert.deepEqual(
      problemsOf(standing, {
        views: [
          { name: 'wether', entity: 'airprt', features: { temp: 'float64' } },
          { name: 'keys', entity: 'airport', features: { origin: 'string' } },
          { name: 'filed', entity: 'airport', source: { file: 'a.csv' }, features: { a: 'string' } },
        ],
        services: [{ name: 's', features: ['weather:tmp', 'wether:temp', 'weather@v7:temp', 'wheather:temp'] }],
      }),
      [
        'views.0.entity unknown_entity: an entity that is defined here or published. Did you mean airport?',
        'views.1.features.origin feature_named_as_key: another name: origin is a key of entity airport',
        'views.2.source.file file_source: source: {dataset: name}; upload the file as a dataset first (the featureloft client does both)',
        'services.0.features.0 unknown_feature: a feature of weather@v1. Did you mean temp?',
        'services.0.features.1 unknown_view: a view that is defined here or published. Did you mean weather?',
        'services.0.features.2 unknown_version: one of version 1 of weather',
        'services.0.features.3 unknown_view: a view that is defined here or published. Did you mean weather?',
      ],
    );
  });

  it('refuses what contradicts itself', () => {
    assert.deepEqual(
      problemsOf(standing, weather, { remove: ['weather', 'service:delay', 'entity:airport', 'weather:temp'] }),
      [
        'remove.0 contradiction: to remove view weather or to define it, not both',
        'remove.1 contradiction: to remove service delay or to define it, not both',
        'remove.2 contradiction: to remove entity airport or to define it, not both',
        'remove.3 contradiction: to remove feature temp or to define it, not both',
      ],
    );
    assert.deepEqual(problemsOf(standing, {}, { remove: ['entity:airport'] }), [
      'remove entity_in_use: an entity without views; weather would be left without keys: remove them too',
    ]);
    assert.deepEqual(
      problemsOf(standing, {}, { remove: ['wether', 'weather@v2', 'weather:tmp', 'service:dely', 'Weather'] }).map(
        (problem) => problem.split(':')[0],
      ),
      [
        'remove.0 unknown_view',
        'remove.1 unknown_version',
        'remove.2 unknown_feature',
        'remove.3 unknown_service',
        'remove.4 bad_reference',
      ],
    );
    assert.match(
      problemsOf(standing, { views: [{ ...weather.views[0], version: 1, features: { temp: 'string' } }] })[0] ?? '',
      /^views\.0\.version version_is_fixed: version 1 as it is; leave `version` out to make version 2/,
    );
    assert.match(
      problemsOf(standing, { services: [{ name: 's', features: ['weather:temp', 'weather@v1:temp'] }] })[0] ?? '',
      /^services\.0\.features duplicate: /,
    );
  });

  it('refuses sources that do not fit the view', () => {
    const view = (features: object, source?: object) => ({
      views: [{ name: 'v', entity: 'airport', features, ...(source ? { source } : {}) }],
    });
    assert.deepEqual(
      problemsOf(standing, view({ a: 'string' }, { dataset: 'd', columns: { a: 'A b', origin: 'O' } })),
      [],
    );
    assert.deepEqual(
      problemsOf(standing, view({ temp: 'string' }, { dataset: '../d', columns: { tmp: 'T' } })).map((text) =>
        text.replace(/: .*Did/, ': … Did').replace(/bad_name.*/, 'bad_name'),
      ),
      ['views.0.source.dataset bad_name', 'views.0.source.columns.tmp unknown_feature: … Did you mean temp?'],
    );
  });

  it('keeps odd names what they are', () => {
    const odd = published({
      entities: [{ name: 'constructor', keys: { select: 'int64' } }],
      views: [{ name: 'table', entity: 'constructor', features: { constructor: 'string', order: 'int32' } }],
    });
    assert.deepEqual([...(odd.views.get('table')?.get(1)?.featuresByName.keys() ?? [])], ['constructor', 'order']);
  });

  it('hashes changes and registry version', () => {
    const { changes } = plan(nothing, weather);
    assert.equal(planHash(0, changes), planHash(0, structuredClone(changes)));
    assert.notEqual(planHash(0, changes), planHash(1, changes));
    assert.notEqual(planHash(0, changes), planHash(0, changes.slice(1)));
    // What is created is all in it, also what shows in no table.
    assert.notEqual(planHash(0, changes), planHash(0, plan(nothing, weatherWith({ ttl: '4h' })).changes));
  });
});

function trainingSet(view: string, version: number, feature: string): RegistrySnapshot['trainingSets'][number] {
  return { name: 'delays', version: 1, features: [{ view, version, feature }] };
}
