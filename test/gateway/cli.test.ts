import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { OnlineAnswer, PlanAnswer, SearchAnswer, TrainingSetInfo, VerifyAnswer } from '../../contract/api';
import { runCli, type CliResult } from './support/cli';
import { newDataDir, spawnGateway, type SpawnedGateway } from './support/gateway';

describe('the command line', function () {
  this.timeout(180_000);
  let dataDir: string;
  let gateway: SpawnedGateway;
  let definitions: string;
  let rows: string;
  let spine: string;

  before(async () => {
    dataDir = await newDataDir();
    gateway = await spawnGateway(dataDir);
    definitions = join(dataDir, 'tmp', 'shop.features.yaml');
    rows = join(dataDir, 'tmp', 'prices.csv');
    spine = join(dataDir, 'tmp', 'sales.csv');
    await writeFile(
      definitions,
      [
        'entities:',
        '  - { name: item, keys: { item_id: int64 } }',
        'views:',
        '  - name: item_prices',
        '    entity: item',
        '    description: What an item costs',
        '    source: { file: prices.csv, event_timestamp: at }',
        '    features: { price: float64, label: string }',
      ].join('\n'),
    );
    await writeFile(rows, 'item_id,at,price,label\n1,2024-01-01T00:00:00Z,9.5,one\n2,2024-01-01T00:00:00Z,,two\n');
    await writeFile(
      spine,
      'item_id,sold_at,sold\n1,2024-01-02T00:00:00Z,true\n2,2024-01-02T00:00:00Z,false\n1,2023-01-01T00:00:00Z,true\n',
    );
  });
  after(async () => {
    await gateway.end();
    await rm(dataDir, { recursive: true, force: true });
  });

  const cli = (...args: string[]): Promise<CliResult> => runCli(['--data', dataDir, ...args]);
  async function json<Answer>(...args: string[]): Promise<Answer> {
    const { code, out, err } = await cli('--json', ...args);
    assert.equal(code, 0, err);
    return JSON.parse(out) as Answer;
  }

  it('sends the token of FEATURELOFT_TOKEN to nobody who has not proven to hold it', async () => {
    const seen: (string | undefined)[] = [];
    const stranger = createServer((request, response) => {
      seen.push(request.headers.authorization);
      response.end('{"status":"ok"}');
    }).listen(0, '127.0.0.1');
    await once(stranger, 'listening');
    const url = `http://127.0.0.1:${(stranger.address() as AddressInfo).port}`;
    const refused = await runCli(['search', 'price'], {
      FEATURELOFT_URL: url,
      FEATURELOFT_TOKEN: gateway.token,
    }).finally(() => stranger.close());
    assert.equal(refused.code, 1);
    assert.match(refused.err, /token was not sent/);
    assert.deepEqual(seen, [undefined]);
    const taken = await runCli(['search', 'price'], {
      FEATURELOFT_URL: gateway.line.url,
      FEATURELOFT_TOKEN: gateway.token,
    });
    assert.equal(taken.code, 0, taken.err);
  });

  it('says what it can do, and answers misuse with exit code 2', async () => {
    assert.equal((await cli('help')).code, 0);
    assert.equal((await cli()).code, 2);
    for (const args of [
      ['nothing'],
      ['plan'],
      ['get', 'a:b'],
      ['push', 'x'],
      ['search'],
      ['search', '--unknown', 'x'],
    ]) {
      const { code, err } = await cli(...args);
      assert.equal(code, 2, args.join(' '));
      assert.match(err, /featureloft: /);
    }
    for (const name of [
      'serve',
      'plan',
      'publish',
      'search',
      'get',
      'push',
      'upload',
      'training-set',
      'train',
      'verify',
    ])
      assert.match((await cli('help', name)).out, new RegExp(`^featureloft ${name}`));
  });

  it('plans, publishes, uploads and loads a definition file, and a second time changes nothing', async () => {
    const plan = await json<PlanAnswer>('plan', definitions);
    assert.deepEqual(plan.changes.map(({ kind, name }) => `${kind} ${name}`).slice(0, 2), [
      'entity item',
      'view item_prices',
    ]);
    assert.match((await cli('plan', definitions)).out, /^CREATE TABLE "features"\."item_prices_v1" \($/m);
    const first = await cli('publish', definitions);
    assert.equal(first.code, 0, first.err);
    assert.match(first.out, /dataset item_prices: version 1, 2 rows/);
    assert.match(first.out, /item_prices: 2 rows written/);
    const second = await cli('publish', definitions);
    assert.equal(second.code, 0, second.err);
    assert.match(second.out, /version 1 is this file already/);
    assert.match(second.out, /Nothing changed/);
    assert.match(second.out, /loaded already/);
  });

  it('searches and reads what was published', async () => {
    const found = await json<SearchAnswer>('search', 'price');
    assert.ok(found.hits.some(({ ref }) => ref === 'item_prices:price'));
    const read = await json<OnlineAnswer>(
      'get',
      'item_prices:price',
      'item_prices:label',
      '--key',
      'item_id=1',
      '--key',
      'item_id=3',
    );
    assert.deepEqual(read.columns['price'], {
      values: [9.5, null],
      statuses: ['PRESENT', 'NOT_FOUND'],
      eventTimestamps: ['2024-01-01T00:00:00Z', null],
    });
    assert.match((await cli('get', 'item_prices:label', '--key', 'item_id=2')).out, /2 +label +two +PRESENT/);
  });

  it('pushes a file, and lists every problem of a bad one', async () => {
    const good = join(dataDir, 'tmp', 'good.csv');
    await writeFile(good, 'item_id,event_timestamp,price,label\n1,2024-02-01T00:00:00Z,10.25,uno\n');
    assert.match((await cli('push', 'item_prices', good)).out, /1 row written/);
    const bad = join(dataDir, 'tmp', 'bad.csv');
    await writeFile(bad, 'item_id,event_timestamp,price,label\nx,2024-02-01T00:00:00Z,1,a\n2,yesterday,cheap,b\n');
    const { code, err } = await cli('push', 'item_prices', bad);
    assert.equal(code, 1);
    assert.match(err, /row 0, item_id: found "x"/);
    assert.match(err, /row 1, event_timestamp: found "yesterday"/);
    assert.match(err, /row 1, price: found "cheap"/);
    assert.equal((await cli('push', 'no_such_view', good)).code, 1);
  });

  it('builds a training set and writes its rows to a file', async () => {
    assert.equal((await cli('upload', 'sales', spine)).code, 0);
    const set = await json<TrainingSetInfo>(
      ...['training-set', 'create', 'sold', '--spine', 'sales', '--event-timestamp', 'sold_at', '--label', 'sold'],
      ...['--feature', 'item_prices:price', '--feature', 'item_prices:label'],
    );
    assert.equal(set.rows, 3);
    const file = join(dataDir, 'tmp', 'sold.csv');
    assert.equal((await cli('training-set', 'data', 'sold', '--out', file)).code, 0);
    const lines = (await readFile(file, 'utf8')).trim().split(/\r?\n/);
    assert.equal(lines.length, 4);
    assert.match(lines[1] ?? '', /9\.5,"?one"?$/);
    assert.match((await cli('training-set', 'list')).out, /sold +1 +3/);
  });

  it('verifies, and finds nothing bad', async () => {
    const answer = await json<VerifyAnswer>('verify');
    assert.deepEqual(answer.bad, []);
    assert.ok(answer.checked > 0);
  });

  it('answers a conflict with exit code 3 and a way out', async () => {
    const breaking = join(dataDir, 'tmp', 'breaking.features.yaml');
    await writeFile(breaking, (await readFile(definitions, 'utf8')).replace('price: float64', 'price: string'));
    const { code, err } = await cli('publish', breaking);
    assert.equal(code, 3, err);
    assert.match(err, /featureloft plan/);
  });

  it('prints the first one’s line when another serve is started on the same folder', async () => {
    const { code, out } = await cli('serve');
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(out), gateway.line);
  });

  it('refuses a password on the command line, another host, and a bad port, before anything is opened', async () => {
    for (const args of [
      ['--postgres', 'postgres://me:secret@db/loft'],
      ['--postgres', 'postgres://me@db/loft?password=secret'],
      ['--host', '0.0.0.0'],
      ['--port', '99999'],
      ['--unknown'],
    ]) {
      const { code, err } = await cli('serve', ...args);
      assert.equal(code, 2, args.join(' '));
      assert.doesNotMatch(err, /secret/);
    }
  });

  it('starts a gateway where none runs, and stops it', async () => {
    const other = await newDataDir();
    const elsewhere = (...args: string[]): Promise<CliResult> => runCli(['--data', other, ...args]);
    try {
      assert.equal((await elsewhere('doctor')).code, 1);
      const found = await elsewhere('search', 'nothing');
      assert.equal(found.code, 0, found.err);
      assert.match(found.out, /^0 features/);
      assert.match(found.err, /Started a gateway/);
      assert.match((await elsewhere('stop')).out, /has ended/);
      assert.match((await elsewhere('stop')).out, /No gateway runs/);
    } finally {
      await elsewhere('stop');
      await rm(other, { recursive: true, force: true });
    }
  });

  it('says what runs', async () => {
    const { code, out } = await cli('doctor');
    assert.equal(code, 0, out);
    assert.match(out, /All is well/);
  });
});
