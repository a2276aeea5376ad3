import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readDefinitionFiles } from '../../client/definitionFiles';
import { LoftError, type Problem } from '../../contract/errors';

describe('definition files', () => {
  let folder: string;
  before(async () => (folder = await mkdtemp(join(tmpdir(), 'loft-definitions-'))));
  after(() => rm(folder, { recursive: true, force: true }));

  async function file(name: string, text: string): Promise<string> {
    await writeFile(join(folder, name), text);
    return join(folder, name);
  }

  /** Every problem, its path without the folder. */
  async function problemsOf(...paths: string[]): Promise<Problem[]> {
    const error: unknown = await readDefinitionFiles(paths).then(
      () => assert.fail('nothing was refused'),
      (refusal: unknown) => refusal,
    );
    assert.ok(error instanceof LoftError, String(error));
    assert.equal(error.code, 'bad_definition');
    return error.problems.map((problem) => ({ ...problem, path: problem.path?.replace(`${folder}/`, '') ?? '' }));
  }

  const airport = 'entities:\n  - name: airport\n    keys: { origin: string }\n';

  it('are merged in the order given, and name the files to upload', async () => {
    await file('weather.csv', 'origin,t\n');
    const one = await file('one.features.yaml', airport);
    const two = await file(
      'two.features.yaml',
      'views:\n  - name: weather\n    entity: airport\n    source: { file: weather.csv, event_timestamp: t }\n    features: { temp: float64 }\n',
    );
    const { definitions, sources } = await readDefinitionFiles([one, two]);
    assert.deepEqual(definitions.entities, [{ name: 'airport', keys: { origin: 'string' } }]);
    assert.equal(definitions.views.length, 1);
    assert.deepEqual(sources, [{ view: 'weather', written: 'weather.csv', path: join(folder, 'weather.csv') }]);
  });

  it('are refused with the file, line and column of every problem', async () => {
    const good = await file('good.features.yaml', airport);
    const bad = await file(
      'bad.features.yaml',
      [
        'views:',
        '  - name: weather',
        '    entity: airport',
        '    ttl: 3 hours',
        '    features:',
        '      temp: float65',
        '      ok: int64',
      ].join('\n'),
    );
    assert.deepEqual(
      (await problemsOf(good, bad)).map(({ path, code }) => [path, code]),
      [
        ['bad.features.yaml:4:5 views.0.ttl', 'bad_duration'],
        ['bad.features.yaml:6:7 views.0.features.temp.type', 'bad_type'],
      ],
    );
  });

  it('with YAML that is none are refused at its place', async () => {
    const path = await file('broken.features.yaml', 'entities:\n  - name: a\n   keys: [\n');
    assert.match((await problemsOf(path))[0]?.path ?? '', /^broken\.features\.yaml:\d+:\d+$/);
    const twice = await file('twice.features.yaml', 'entities: []\nentities: []\n');
    assert.deepEqual(
      (await problemsOf(twice)).map(({ path: at, code }) => [at, code]),
      [['twice.features.yaml:2:1', 'bad_yaml']],
    );
  });

  it('refuse a bomb of aliases, an unknown member and __proto__', async () => {
    const levels = ['a: &a [x, x, x, x, x, x, x, x, x, x]'];
    for (const [to, from] of ['ba', 'cb', 'dc', 'ed', 'fe', 'gf', 'hg'].map((pair) => [...pair] as [string, string]))
      levels.push(`${to}: &${to} [${Array(10).fill(`*${from}`).join(', ')}]`);
    const bomb = await file('bomb.features.yaml', `${levels.join('\n')}\nentities: *h\n`);
    assert.match((await problemsOf(bomb))[0]?.expected ?? '', /alias/i);
    const member = await file('member.features.yaml', `${airport}\nvews: []\n`);
    assert.deepEqual(
      (await problemsOf(member)).map(({ code, found }) => [code, found]),
      [['unknown_property', '"vews"']],
    );
    const proto = await file(
      'proto.features.yaml',
      'views:\n  - name: v\n    entity: e\n    features:\n      __proto__: float64\n',
    );
    assert.deepEqual(
      (await problemsOf(proto)).map(({ code, path }) => [code, path]),
      [['bad_name', 'proto.features.yaml:4:5 views.0.features']],
    );
  });

  it('name source files in their own folder only, whatever links say', async () => {
    const inner = join(folder, 'inner');
    await mkdir(inner);
    await writeFile(join(folder, 'secret.csv'), 'secret\n');
    await symlink(join(folder, 'secret.csv'), join(inner, 'link.csv'));
    for (const written of ['../secret.csv', join(folder, 'secret.csv'), 'link.csv', 'nothing.csv']) {
      const path = join(inner, 'x.features.yaml');
      await writeFile(
        path,
        `views:\n  - name: v\n    entity: e\n    source: { file: '${written}' }\n    features: { a: int64 }\n`,
      );
      const [problem] = await problemsOf(path);
      assert.equal(problem?.code, written === 'nothing.csv' ? 'no_such_file' : 'source_outside', written);
      assert.equal(problem.path, 'inner/x.features.yaml:4:15');
    }
  });

  it('larger than 5 MB are not read', async () => {
    const path = await file('large.features.yaml', `# ${'x'.repeat(5 * 1024 * 1024)}\n`);
    await assert.rejects(readDefinitionFiles([path]), (error) => error instanceof LoftError && error.status === 413);
  });
});
