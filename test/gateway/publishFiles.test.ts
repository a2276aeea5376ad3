import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GatewayClient } from '../../client/gatewayClient';
import { publishFiles, type PublishProgress } from '../../client/publishFiles';
import { UploadMemory } from '../../client/uploadMemory';
import { LoftError } from '../../contract/errors';
import { startTestGateway } from './support/gateway';

describe('publishing files', function () {
  this.timeout(120_000);
  let client: GatewayClient;
  let folder: string;
  before(async () => ({ client } = await startTestGateway()));
  beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'loft-publish-'))));
  afterEach(() => rm(folder, { recursive: true, force: true }));

  async function write(view: string, extra = '', rows = 'k,at,v\na,2024-01-01T00:00:00Z,1\n'): Promise<string> {
    await writeFile(join(folder, `${view}.csv`), rows);
    const path = join(folder, `${view}.features.yaml`);
    await writeFile(
      path,
      `entities: [{ name: files_key, keys: { k: string } }]
views:
  - name: ${view}
    entity: files_key
    source: { file: ${view}.csv, event_timestamp: at }
    features: { v: int64${extra} }
`,
    );
    return path;
  }

  function publish(path: string, options: { onProgress?: (one: PublishProgress) => void; planHash?: string } = {}) {
    return publishFiles(client, [path], {
      load: true,
      memory: new UploadMemory(join(folder, 'uploads.json')),
      ...options,
    });
  }

  it('uploads and loads a changed file again, and an unchanged one not', async () => {
    const path = await write('files_again');
    const first = await publish(path);
    assert.equal(first.loads[0]?.answer?.written, 1);
    const second = await publish(path);
    assert.deepEqual([second.changes, second.uploads[0]?.already, second.loads[0]?.already], [[], true, true]);
    assert.equal(second.uploads[0]?.dataset.version, 1);
    await write('files_again', '', 'k,at,v\na,2024-01-02T00:00:00Z,2\nb,2024-01-02T00:00:00Z,3\n');
    const third = await publish(path);
    assert.equal(third.uploads[0]?.dataset.version, 2);
    assert.equal(third.loads[0]?.answer?.written, 2);
  });

  it('makes a dataset of the view’s name, whatever that is', async () => {
    const { uploads } = await publish(await write('constructor'));
    assert.equal(uploads[0]?.dataset.name, 'constructor');
  });

  it('loads the same values again when its memory was lost', async () => {
    const path = await write('files_lost');
    await publish(path);
    const { state: before } = await client.call('view', { params: { view: 'files_lost' } });
    await rm(join(folder, 'uploads.json'));
    const again = await publish(path);
    // Without its memory the file is a new version; its rows lose to those that stand, or replace them by equal ones.
    assert.equal(again.uploads[0]?.dataset.version, 2);
    const { state: after } = await client.call('view', { params: { view: 'files_lost' } });
    assert.equal(after.rows, before.rows + 1);
    const read = await client.call('onlineGet', { body: { features: ['files_lost:v'], entities: { k: ['a'] } } });
    assert.deepEqual(read.columns['v']?.values, [1]);
  });

  it('tries once more by itself when somebody else published something else meanwhile', async () => {
    const path = await write('files_retry');
    let interfered: Promise<unknown> | undefined;
    const meanwhile = (name: string) =>
      client.call('publish', { body: { definitions: { entities: [{ name, keys: { k: 'string' } }] } } });
    const call = client.call.bind(client);
    const proxied = Object.create(client, {
      call: {
        value: async (...args: Parameters<typeof call>) => {
          if (args[0] === 'publish') await (interfered ??= meanwhile('files_other'));
          return call(...args);
        },
      },
    }) as GatewayClient;
    const published = await publishFiles(proxied, [path], {
      load: false,
      memory: new UploadMemory(join(folder, 'uploads.json')),
    });
    assert.ok(interfered);
    assert.ok(published.changes.some(({ kind, name }) => kind === 'view' && name === 'files_retry'));
  });

  it('never publishes a breaking change that nobody has looked at', async () => {
    const path = await write('files_breaking');
    await publish(path);
    await writeFile(path, `views: [{ name: files_breaking, entity: files_key, features: { v: string } }]\n`);
    await assert.rejects(publish(path), (error) => error instanceof LoftError && error.code === 'plan_required');
  });

  it('uploads nothing when the definitions are refused', async () => {
    const path = await write('files_refused');
    await writeFile(
      path,
      `views: [{ name: files_refused, entity: no_such_entity, source: { file: files_refused.csv }, features: { v: int64 } }]\n`,
    );
    await assert.rejects(publish(path), LoftError);
    const { items } = await client.call('datasets', { query: { limit: 1000 } });
    assert.ok(!items.some(({ name }) => name === 'files_refused'));
  });
});
