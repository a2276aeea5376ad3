import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { FeatureInfo, RegistryPage, ViewInfo } from '../../contract/api';
import { describeFeature, describeView, registryPage, type PageQuery } from '../../server/registry/describe';
import { loadRegistry } from '../../server/registry/load';
import { publish } from '../../server/registry/publish';
import { freshDatabase, type TestDatabase } from './support/postgres';

const store = {
  entities: [
    { name: 'airport', keys: { origin: 'string' }, description: 'Where flights leave', owner: 'ops@example.org' },
    { name: 'plane', keys: { tailnum: 'string' } },
  ],
  views: [
    {
      name: 'weather',
      entity: 'airport',
      ttl: '3h',
      freshness: '2h',
      owner: 'ops@example.org',
      tags: ['hourly'],
      source: { dataset: 'weather_file', event_timestamp: 'time_hour', timezone: 'UTC' },
      features: {
        temp: { type: 'float64', description: 'Temperature', tags: ['raw'], rules: [{ range: [-80, 150] }] },
        wind: { type: 'decimal(10, 2)', sensitive: true },
      },
    },
    { name: 'facts', entity: 'plane', features: { seats: 'int32' } },
  ],
  services: [
    { name: 'delay', features: ['weather:temp', 'facts:seats'], tags: ['raw'] },
    { name: 'seats', features: ['facts:seats'] },
  ],
};

describe('the registry described', () => {
  let database: TestDatabase;
  const snapshot = () => loadRegistry(database.db);
  before(async () => {
    database = await freshDatabase();
    await publish(database.db, { definitions: store }, 'test');
  });
  after(() => database.drop());

  it('says all about a view, as the contract has it', async () => {
    const { db } = database;
    await db.query(`INSERT INTO registry.view_state VALUES ('weather', 1, 40, now() - interval '3 hours', 7)`);
    await db.query(
      `INSERT INTO registry.training_sets VALUES
         ('delays', 1, 'x', '{}', '[{"view":"weather","version":1,"feature":"wind"}]'),
         ('delays', 2, 'y', '{}', '[{"view":"weather","version":1,"feature":"temp"}]'),
         ('early', 1, 'z', '{}', '[{"view":"facts","version":1,"feature":"seats"}]')`,
    );
    const info = ViewInfo.parse(await describeView(db, await snapshot(), 'weather'));
    assert.equal(info.state.late, true);
    assert.match(info.state.newestEvent ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    assert.deepEqual(
      { ...info, state: info.state.rows },
      {
        name: 'weather',
        version: 1,
        current: true,
        entity: 'airport',
        keys: [{ name: 'origin', type: 'string' }],
        ttl: '3h',
        freshness: '2h',
        source: { dataset: 'weather_file', event_timestamp: 'time_hour', timezone: 'UTC' },
        owner: 'ops@example.org',
        tags: ['hourly'],
        features: [
          {
            ref: 'weather:temp',
            name: 'temp',
            view: 'weather',
            version: 1,
            entity: 'airport',
            type: 'float64',
            description: 'Temperature',
            owner: 'ops@example.org',
            tags: ['raw', 'hourly'],
            rules: [{ range: [-80, 150], on: 'reject' }],
          },
          {
            ref: 'weather:wind',
            name: 'wind',
            view: 'weather',
            version: 1,
            entity: 'airport',
            type: 'decimal(10,2)',
            owner: 'ops@example.org',
            tags: ['hourly'],
            sensitive: true,
          },
        ],
        versions: [{ version: 1, current: true }],
        state: 40,
        lineage: { services: ['delay'], trainingSets: ['delays'], datasets: ['weather_file'] },
      },
    );
  });

  it('counts rows that are not drained yet, and is late no more when one of them is new', async () => {
    const { db } = database;
    await db.query(
      `INSERT INTO registry.outbox (batch, view, version, columns, row_count, newest_event, clock, body, gateway)
       VALUES (1, 'weather', 1, '[]', 3, now(), now(), '', 'g'), (2, 'weather', 1, '[]', 4, '2001-01-01', now(), '', 'g')`,
    );
    const { state } = await describeView(db, await snapshot(), 'weather@v1');
    assert.deepEqual([state.rows, state.late], [47, false]);
    assert.deepEqual((await describeView(db, await snapshot(), 'facts')).state, {
      newestEvent: null,
      rows: 0,
      late: false,
    });
  });

  it('says all about a feature', async () => {
    const info = await describeFeature(database.db, await snapshot(), 'facts@v1:seats');
    FeatureInfo.extend({ in: ViewInfo }).parse(info);
    assert.deepEqual([info.ref, info.type, info.in.name], ['facts:seats', 'int32', 'facts']);
    await assert.rejects(describeFeature(database.db, await snapshot(), 'facts:seat'), {
      code: 'unknown_feature',
      status: 404,
      detail: 'View facts (version 1) has no feature seat. Did you mean seats?',
    });
    await assert.rejects(describeFeature(database.db, await snapshot(), 'facts.seats'), { code: 'bad_reference' });
  });

  it('pages through entities, views and services, and none is left out or twice', async () => {
    const all = await pages({ limit: 100 });
    assert.deepEqual(all, [
      'entity airport',
      'entity plane',
      'view facts',
      'view weather',
      'service delay',
      'service seats',
    ]);
    for (const limit of [1, 2, 3, 5, 6]) assert.deepEqual(await pages({ limit }), all);
  });

  it('filters by entity, owner, tag and view', async () => {
    assert.deepEqual(await pages({ limit: 100, entity: 'airport' }), [
      'entity airport',
      'view weather',
      'service delay',
    ]);
    assert.deepEqual(await pages({ limit: 100, owner: 'ops@example.org' }), ['entity airport', 'view weather']);
    assert.deepEqual(await pages({ limit: 100, tag: 'raw' }), ['view weather', 'service delay']);
    assert.deepEqual(await pages({ limit: 100, view: 'facts' }), ['view facts']);
    assert.deepEqual(await pages({ limit: 100, view: 'nobody' }), []);
  });

  it('refuses a cursor that is none', async () => {
    for (const cursor of ['', 'x', 'W10', Buffer.from('["table","a"]').toString('base64url')])
      await assert.rejects(registryPage(database.db, await snapshot(), { limit: 1, cursor }), { code: 'bad_cursor' });
  });

  async function pages(query: PageQuery): Promise<string[]> {
    const names: string[] = [];
    let cursor: string | undefined;
    do {
      const page = RegistryPage.parse(await registryPage(database.db, await snapshot(), { ...query, cursor }));
      assert.ok(page.items.length <= query.limit);
      names.push(...page.items.map((item) => `${item.kind} ${item.kind === 'view' ? item.view.name : item.name}`));
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    return names;
  }
});
