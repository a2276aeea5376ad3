import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { LoftError } from '../../contract/errors';
import { formatValueType } from '../../contract/valueTypes';
import { columnType } from '../../server/postgres/columnTypes';
import { loadRegistry } from '../../server/registry/load';
import { plan, publish, type PlanInput } from '../../server/registry/publish';
import type { RegistrySnapshot } from '../../server/registry/snapshot';
import { freshDatabase, type TestDatabase } from './support/postgres';

// Any sequence of publishes keeps the registry, its tables and its log in step. Few names, so that they collide.

const keys = fc.constantFrom({ k: 'string' }, { k: 'int64' }, { k: 'string', j: 'date' }, { j: 'date', k: 'string' });
const entity = fc.record({ name: fc.constantFrom('e0', 'e1'), keys, description: fc.constantFrom('', 'words') });
const type = fc.constantFrom('int32', 'float64', 'decimal(8,2)', 'list<string>', 'embedding<3>', 'json');
const feature = fc.oneof(
  type,
  fc.record({ type, tags: fc.subarray(['a', 'b']), deprecated: fc.constantFrom('old') }, { requiredKeys: ['type'] }),
);
const view = fc.record(
  {
    name: fc.constantFrom('v0', 'v1', 'v2'),
    entity: fc.constantFrom('e0', 'e1'),
    ttl: fc.constantFrom('1h', '2h'),
    features: fc.dictionary(fc.constantFrom('f0', 'f1', 'f2', 'f3'), feature, { minKeys: 1 }),
  },
  { requiredKeys: ['name', 'entity', 'features'] },
);
const reference = fc.constantFrom('v0:f0', 'v0:f1', 'v1:f0', 'v1@v1:f1', 'v2:f2', 'v2@v2:f3');
const service = fc.record({
  name: fc.constantFrom('s0', 's1'),
  features: fc.uniqueArray(reference, { minLength: 1, maxLength: 3 }),
});
const removal = fc.constantFrom(
  'v0',
  'v1',
  'v1@v1',
  'v2@v1',
  'v0:f0',
  'v1:f3',
  'entity:e0',
  'service:s0',
  'service:s1',
);
const one = { selector: (item: { name: string }) => item.name, maxLength: 2 };
const publishing: fc.Arbitrary<PlanInput> = fc.record({
  definitions: fc.record({
    entities: fc.uniqueArray(entity, one),
    views: fc.uniqueArray(view, { ...one, maxLength: 3 }),
    services: fc.uniqueArray(service, one),
  }),
  remove: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, fc.uniqueArray(removal, { maxLength: 2 })),
});

describe('any sequence of publishes', () => {
  it('keeps registry, tables and log in step, and means the same when sent again', async function () {
    this.timeout(120_000);
    let applied = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(publishing, { minLength: 4, maxLength: 14 }), async (sequence) => {
        const database = await freshDatabase();
        try {
          await setOut(database);
          for (const input of sequence) applied += await step(database, input);
        } finally {
          await database.drop();
        }
      }),
      { numRuns: 6 },
    );
    assert.ok(applied > 10, `only ${applied} publishes changed something`);
  });
});

/** Something to refer to, so that most publishes are good. */
async function setOut({ db }: TestDatabase): Promise<void> {
  const features = { f0: 'int32', f1: 'float64', f2: 'json', f3: 'list<string>' };
  const definitions = {
    entities: ['e0', 'e1'].map((name) => ({ name, keys: { k: 'string' } })),
    views: ['v0', 'v1', 'v2'].map((name) => ({ name, entity: 'e0', features })),
  };
  await publish(db, { definitions }, 'test');
}

async function step(database: TestDatabase, input: PlanInput): Promise<number> {
  const { db } = database;
  const before = await loadRegistry(db);
  let planned;
  try {
    planned = await plan(db, input);
  } catch (error) {
    assert.ok(error instanceof LoftError && error.code === 'bad_definition', String(error));
    assert.ok(error.problems.length > 0 && error.problems.every(({ path, expected }) => path && expected));
    await assert.rejects(publish(db, input, 'test'), { code: 'bad_definition' });
    assert.deepEqual(await loadRegistry(db), before);
    return 0;
  }
  const answer = await publish(db, { ...input, planHash: planned.planHash, force: true }, 'test');
  assert.deepEqual(answer.changes, planned.changes);
  const now = await loadRegistry(db);
  assert.equal(now.registryVersion, before.registryVersion + (planned.changes.length > 0 ? 1 : 0));
  assert.equal(answer.registryVersion, now.registryVersion);
  await checkTables(database, now);
  checkVersions(before, now);
  await checkLog(database, now);
  if ((input.remove ?? []).length === 0) assert.deepEqual((await plan(db, input)).changes, []);
  return planned.changes.length > 0 ? 1 : 0;
}

/** Each view version has its table and no other table is there: the same columns, types and primary key. */
async function checkTables({ db }: TestDatabase, { views }: RegistrySnapshot): Promise<void> {
  const { rows } = await db.query<{ name: string; columns: string; key: string }>(
    `SELECT c.relname AS name,
            (SELECT json_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
               FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
            pg_get_indexdef(i.indexrelid) AS key
       FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
      WHERE c.relnamespace = 'features'::regnamespace AND c.relkind = 'r'`,
  );
  const there = new Map(
    rows.map(({ name, columns, key }) => [name, { columns: JSON.parse(columns) as string[], key }]),
  );
  const versions = [...views.values()].flatMap((ofView) => [...ofView.values()]);
  assert.deepEqual([...there.keys()].sort(), versions.map(({ table }) => table).sort());
  for (const version of versions) {
    const table = there.get(version.table);
    const longNames = new Map([['timestamptz', 'timestamp with time zone']]);
    const columns = [...version.keys, ...version.features].map(({ name, type: columnOf }) => {
      const sql = columnType(columnOf);
      return `${name} ${longNames.get(sql) ?? sql}`;
    });
    const triple = ['event_timestamp', 'created_timestamp'].map((name) => `${name} timestamp with time zone`);
    // Added features stand behind the triple in the table, so the order is not compared.
    assert.deepEqual(table?.columns.sort(), [...columns, ...triple, 'write_seq bigint'].sort());
    assert.match(table?.key ?? '', new RegExp(`\\(${version.keys.map(({ name }) => name).join(', ')}\\)$`));
  }
}

/** One current version each; a version never loses or retypes a feature, nor changes its keys; services refer to what was there. */
function checkVersions(before: RegistrySnapshot, now: RegistrySnapshot): void {
  for (const [name, versions] of now.views) {
    assert.equal([...versions.values()].filter(({ current }) => current).length, 1, name);
    for (const [number, version] of versions) {
      const old = before.views.get(name)?.get(number);
      for (const { name: featureName, type: was } of old?.features ?? []) {
        const is = version.featuresByName.get(featureName);
        assert.equal(is && formatValueType(is.type), formatValueType(was));
      }
      if (old !== undefined) assert.deepEqual(version.keys, old.keys);
    }
  }
  for (const [name, service] of now.services) {
    assert.equal(service.resolved.length, service.definition.features.length);
    const kept = before.services.get(name);
    service.definition.features.forEach((text, index) => {
      const at = kept?.definition.features.indexOf(text) ?? -1;
      if (at >= 0) assert.deepEqual(service.resolved[index], kept?.resolved[at]);
    });
  }
}

async function checkLog({ db }: TestDatabase, { registryVersion }: RegistrySnapshot): Promise<void> {
  const { rows } = await db.query(
    `SELECT (SELECT count(*) FROM registry.changes) AS changes, (SELECT max(registry_version) FROM registry.changes) AS newest,
            (SELECT count(*) FROM registry.audit) AS audited, (SELECT count(*) FROM registry.applied_plans) AS plans`,
  );
  const version = String(registryVersion);
  assert.deepEqual(rows, [{ changes: version, newest: version, audited: version, plans: version }]);
}
