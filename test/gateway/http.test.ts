import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { followChanges, type Followed } from '../../client/changeStream';
import { LoftError } from '../../contract/errors';
import type { GatewayClient } from '../../client/gatewayClient';
import type { RunningGateway } from '../../server/gateway';
import { startTestGateway, untilOffline } from './support/gateway';

interface Problem {
  code: string;
  status: number;
  detail: string;
  position?: number;
  problems?: { path: string }[];
}

describe('the gateway over HTTP', function () {
  this.timeout(120_000);
  let gateway: RunningGateway;
  let client: GatewayClient;
  before(async () => {
    ({ gateway, client } = await startTestGateway());
    await untilOffline(client);
  });

  function ask(path: string, init: RequestInit = {}, token: string | null = gateway.token): Promise<Response> {
    return fetch(new URL(path, gateway.url), {
      ...init,
      headers: { ...(token === null ? {} : { authorization: `Bearer ${token}` }), ...init.headers },
    });
  }

  async function refusal(path: string, init: RequestInit = {}): Promise<Problem> {
    const response = await ask(path, init);
    assert.match(response.headers.get('content-type') ?? '', /^application\/problem\+json/);
    const problem = (await response.json()) as Problem;
    assert.equal(problem.status, response.status);
    return problem;
  }

  function post(text: string, type = 'application/json'): RequestInit {
    return { method: 'POST', body: text, headers: { 'content-type': type } };
  }

  it('tells a stranger only its status, and proves itself to who asks', async () => {
    const challenge = 'any text, even é'.normalize('NFD').replace(/[^ -~]/g, '');
    const answer = await ask('/v1/health', { headers: { 'x-loft-challenge': challenge } }, null);
    assert.deepEqual(await answer.json(), { status: 'ok' });
    const proof = createHmac('sha256', gateway.token).update(challenge).digest('hex');
    assert.equal(answer.headers.get('x-loft-proof'), proof);
    const owner = await ask('/v1/health', { headers: { 'x-loft-challenge': challenge } });
    assert.equal(owner.headers.get('x-loft-proof'), proof);
    const health = (await owner.json()) as { status: string; stores: { online: { embedded: boolean } } };
    assert.equal(health.stores.online.embedded, true);
    assert.equal((await ask('/v1/health', {}, 'f'.repeat(64))).status, 401);
    assert.equal((await ask('/v1/health/ready', {}, null)).status, 200);
  });

  it('answers 404 and 405 with what is there, to a holder of the token', async () => {
    assert.equal((await refusal('/v1/nothing')).code, 'no_such_route');
    assert.equal((await refusal('/v1/registry/')).code, 'no_such_route');
    const response = await ask('/v1/plan');
    assert.equal(response.status, 405);
    assert.equal(response.headers.get('allow'), 'POST');
    assert.equal((await refusal('/v1/views/%E0%A4%A')).status, 400);
    assert.equal((await refusal('/v1/datasets/a%00b')).code, 'bad_path');
    assert.equal((await refusal('/v1/training-sets?cursor=%00')).code, 'bad_query');
    assert.equal((await refusal('/v1/datasets/x?version=9007199254740991')).status, 404);
    assert.equal((await refusal('/v1/training-sets/x/99999999999')).status, 404);
  });

  it('names the place of bad JSON, and refuses other types, encodings and sizes', async () => {
    const broken = await refusal('/v1/plan', post('{"definitions": {"views": [}}'));
    assert.equal(broken.status, 400);
    assert.equal(broken.position, 27);
    assert.match(broken.detail, /line 1, column 28/);
    assert.equal((await refusal('/v1/plan', post('{"definitions":{},"definitions":{}}'))).code, 'duplicate_key');
    assert.equal((await refusal('/v1/plan', post('{}', 'text/plain'))).status, 415);
    assert.equal((await refusal('/v1/plan', { method: 'POST' })).status, 415);
    assert.equal((await refusal('/v1/plan', post('{}', 'application/json; charset=utf-16'))).status, 415);
    const gzipped = { ...post('{}'), headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' } };
    assert.equal((await refusal('/v1/plan', gzipped)).code, 'unsupported_encoding');
    for (const body of [
      { kind: 'training', trainingSet: 'a\0' },
      { kind: 'training', trainingSet: 'a', version: 2 ** 40 },
    ])
      assert.equal((await refusal('/v1/jobs', post(JSON.stringify(body)))).status, 404);
    const missing = await refusal('/v1/online/get', post('{"features": "not a list"}'));
    assert.equal(missing.status, 422);
    assert.ok(missing.problems?.some(({ path }) => path === 'features'));
    assert.equal((await refusal('/v1/registry?limit=0')).code, 'bad_query');
    assert.equal((await refusal('/v1/registry?unknown=1')).code, 'bad_query');
    assert.equal((await refusal('/v1/registry?limit=1&limit=2')).code, 'bad_query');
  });

  it('refuses a JSON body above 32 MB by its length, before it is sent', async () => {
    const url = new URL('/v1/plan', gateway.url);
    const status = await new Promise<number | undefined>((done, failed) => {
      const request = httpRequest(url, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${gateway.token}`,
          'content-type': 'application/json',
          'content-length': 40 * 1024 * 1024,
        },
      });
      request.once('response', (response) => {
        done(response.statusCode);
        request.destroy();
      });
      request.once('error', failed);
      request.flushHeaders();
    });
    assert.equal(status, 413);
  });

  it('cuts off a JSON body that grows beyond 32 MB, after its answer', async () => {
    const { port, host } = new URL(gateway.url);
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('error', () => undefined);
    let answer = '';
    socket.setEncoding('utf8').on('data', (text: string) => (answer += text));
    socket.write(
      `POST /v1/plan HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${gateway.token}\r\n` +
        'content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n',
    );
    const megabyte = `100000\r\n${' '.repeat(1024 * 1024)}\r\n`;
    const flood = setInterval(() => socket.write(megabyte), 5);
    await new Promise((done) => socket.once('close', done));
    clearInterval(flood);
    assert.match(answer, /^HTTP\/1\.1 413 /);
    assert.match(answer, /"code":"body_too_large"/);
  });

  it('publishes, and answers the registry with 304 while it stands', async () => {
    const definitions = {
      entities: [{ name: 'http_item', keys: { item: 'int64' } }],
      views: [{ name: 'http_facts', entity: 'http_item', features: { price: 'float64', count: 'int64' } }],
    };
    const published = await client.call('publish', { body: { definitions } });
    assert.ok(published.changes.length > 0);
    const first = await ask('/v1/views/http_facts');
    const tag = first.headers.get('etag') ?? '';
    assert.equal(first.status, 200);
    const again = await ask('/v1/views/http_facts', { headers: { 'if-none-match': tag } });
    assert.equal(again.status, 304);
    assert.equal(await again.text(), '');
    const again2 = await client.call('publish', { body: { definitions } });
    assert.deepEqual(again2, { registryVersion: published.registryVersion, changes: [] });
  });

  it('carries numbers through as they came', async () => {
    const body =
      '{"rows":[{"item":9007199254740993,"price":-0.0,"count":-9223372036854775808,"event_timestamp":"2024-01-01T00:00:00.000001Z"}]}';
    const written = await ask('/v1/views/http_facts/rows', post(body));
    assert.equal(written.status, 200, await written.clone().text());
    const text = await (
      await ask(
        '/v1/online/get',
        post('{"features":["http_facts:price","http_facts:count"],"entities":{"item":[9007199254740993]}}'),
      )
    ).text();
    assert.match(text, /"price":\{"values":\[-0\.0\]/);
    assert.match(text, /"count":\{"values":\[-9223372036854775808\]/);
    assert.match(text, /"2024-01-01T00:00:00\.000001Z"/);
  });

  it('does once what is sent twice with the same Idempotency-Key', async () => {
    const send = (price: number, key: string) =>
      client.call('writeRows', {
        params: { view: 'http_facts' },
        rows: { json: { rows: [{ item: 77, price, count: 1, event_timestamp: '2024-01-02T00:00:00Z' }] } },
        headers: { 'idempotency-key': key },
      });
    const first = await send(1, 'once-1');
    assert.deepEqual(await send(1, 'once-1'), first);
    await assert.rejects(send(2, 'once-1'), (error) => error instanceof LoftError && error.status === 422);
  });

  it('streams changes in order, resumes after Last-Event-ID, and resyncs after a gap', async () => {
    const seen: Followed[] = [];
    const stop = new AbortController();
    const following = (async () => {
      for await (const one of followChanges(client, { signal: stop.signal })) seen.push(one);
    })();
    await until(() => seen.some((one) => one.kind === 'connected'));
    for (const name of ['http_a', 'http_b', 'http_c'])
      await client.call('publish', { body: { definitions: { entities: [{ name, keys: { k: 'string' } }] } } });
    const changes = () => seen.flatMap((one) => (one.kind === 'change' ? [one] : []));
    await until(() => changes().length >= 3);
    assert.deepEqual(
      changes().map(({ change }) => change.changes[0]?.name),
      ['http_a', 'http_b', 'http_c'],
    );
    const [first, second] = changes();
    assert.equal(second?.position, (first?.position ?? 0) + 1);
    stop.abort();
    await following;

    const resumed: Followed[] = [];
    const stopResumed = new AbortController();
    const after = { signal: stopResumed.signal, after: first?.position ?? 0 };
    for await (const one of followChanges(client, after)) {
      resumed.push(one);
      if (resumed.filter(({ kind }) => kind === 'change').length === 2) stopResumed.abort();
    }
    assert.deepEqual(
      resumed.flatMap((one) => (one.kind === 'change' ? [one.change.changes[0]?.name] : [])),
      ['http_b', 'http_c'],
    );

    const stopGap = new AbortController();
    const gap: string[] = [];
    for await (const one of followChanges(client, { signal: stopGap.signal, after: 1_000_000 })) {
      gap.push(one.kind);
      if (one.kind === 'resync') stopGap.abort();
    }
    assert.deepEqual(gap, ['connected', 'resync']);
    assert.equal((await refusal('/v1/changes', { headers: { 'last-event-id': 'x' } })).code, 'bad_last_event_id');
  });

  it('serves its OpenAPI page', async () => {
    const page = (await (await ask('/v1/openapi.json')).json()) as { openapi: string };
    assert.equal(page.openapi, '3.1.0');
  });

  it('keeps its token and SQL out of answers and log', async () => {
    const { readFile } = await import('node:fs/promises');
    await delay(50);
    const log = await readFile(`${gateway.folder.logsDir}/gateway.log`, 'utf8');
    assert.ok(log.length > 0);
    assert.ok(!log.includes(gateway.token));
  });
});

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('waited 10 s in vain');
    await delay(10);
  }
}
