import assert from 'node:assert/strict';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { routes } from '../../../contract/api';
import { createGuard } from '../../../server/http/guard';
import { createHttpServer, type HttpServer } from '../../../server/http/httpServer';
import { JobTokens } from '../../../server/http/jobTokens';

const TOKEN = 'a'.repeat(64);
const AUTHORIZED = { authorization: `Bearer ${TOKEN}` };

interface Answer {
  status: number;
  headers: IncomingMessage['headers'];
  code: string | undefined;
}

describe('the guard, ahead of everything else on the HTTP server', () => {
  const jobTokens = new JobTokens();
  let server: HttpServer;
  let port: number;
  /** What got past the guard. */
  let reached: string[];

  before(async () => {
    const hosts = new Set<string>();
    server = createHttpServer({
      guard: createGuard({ token: TOKEN, jobTokens, hosts: () => hosts }),
      app: (request, response) => {
        reached.push(`${request.method} ${request.url}`);
        request.resume().once('end', () => response.end('{}'));
      },
    });
    port = await server.listen('127.0.0.1', 0);
    for (const name of ['127.0.0.1', 'localhost']) hosts.add(`${name}:${port}`);
  });
  beforeEach(() => (reached = []));
  after(() => server.close(100));

  function ask(path: string, headers: Record<string, string> = {}, method = 'GET', body?: string): Promise<Answer> {
    return new Promise((done, failed) => {
      const request = httpRequest({ host: '127.0.0.1', port, path, method, headers, agent: false }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.once('end', () =>
          done({
            status: response.statusCode ?? 0,
            headers: response.headers,
            code: (JSON.parse(text || '{}') as { code?: string }).code,
          }),
        );
      });
      request.once('error', failed);
      request.end(body);
    });
  }

  /** Sends bytes as they are and answers all that comes back. */
  async function raw(text: string, waitMs = 3_000): Promise<string> {
    const socket = connect(port, '127.0.0.1');
    socket.setTimeout(waitMs, () => socket.destroy());
    let answer = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
    socket.on('error', () => undefined);
    socket.write(text);
    await new Promise((done) => socket.once('close', done));
    return answer;
  }

  it('lets a request with the token pass, whatever the spelling of the scheme', async () => {
    assert.equal((await ask('/v1/registry', AUTHORIZED)).status, 200);
    assert.equal((await ask('/v1/registry', { authorization: `bearer ${TOKEN}` })).status, 200);
    assert.equal((await ask('/v1/registry', { ...AUTHORIZED, host: `LocalHost:${port}` })).status, 200);
  });

  it('answers 401 without a token on every route but health, also on routes that do not exist', async () => {
    for (const path of [
      '/v1/registry',
      '/v1/nothing',
      '/',
      '/v1/openapi.json',
      '/v1/healthy',
      '/v1/health/../registry',
    ]) {
      const answer = await ask(path);
      assert.equal(answer.status, 401, path);
      assert.equal(answer.code, 'unauthorized');
      assert.match(answer.headers['www-authenticate'] ?? '', /^Bearer/);
      assert.equal(answer.headers['content-type'], 'application/problem+json; charset=utf-8');
    }
    for (const path of [routes.health.path, routes.ready.path]) assert.equal((await ask(path)).status, 200, path);
    assert.equal((await ask('/v1/health', {}, 'POST')).status, 401);
    assert.deepEqual(reached, ['GET /v1/health', 'GET /v1/health/ready']);
  });

  it('answers 401 for every token that is not the whole token', async () => {
    const wrong = [
      `Bearer ${'b'.repeat(64)}`,
      `Bearer ${TOKEN}0`,
      `Bearer ${TOKEN.slice(1)}`,
      'Bearer ',
      `Basic ${TOKEN}`,
      TOKEN,
    ];
    for (const authorization of wrong) {
      assert.equal((await ask('/v1/registry', { authorization })).status, 401, authorization);
      assert.equal((await ask('/v1/health', { authorization })).status, 401, authorization);
    }
    assert.deepEqual(reached, []);
  });

  it('takes no token from the URL, a cookie or a body', async () => {
    assert.equal((await ask(`/v1/registry?token=${TOKEN}`)).status, 401);
    assert.equal((await ask(`/v1/registry?access_token=${TOKEN}`)).status, 401);
    assert.equal((await ask('/v1/registry', { cookie: `token=${TOKEN}` })).status, 401);
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    assert.equal((await ask('/v1/plan', form, 'POST', `access_token=${TOKEN}`)).status, 401);
  });

  it('answers 421 for another Host, however good the token: a page may have rebound its name', async () => {
    for (const host of [
      'evil.example',
      `evil.example:${port}`,
      '127.0.0.1',
      `127.0.0.1:${port + 1}`,
      `localhost.evil.example:${port}`,
    ]) {
      const answer = await ask('/v1/registry', { ...AUTHORIZED, host });
      assert.equal(answer.status, 421, host);
      assert.equal(answer.code, 'unknown_host');
    }
    assert.match(await raw('GET /v1/registry HTTP/1.0\r\nauthorization: Bearer x\r\n\r\n'), /^HTTP\/1\.1 421 /);
    const two = `GET /v1/health HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nhost: evil.example\r\nconnection: close\r\n\r\n`;
    assert.match(await raw(two), /^HTTP\/1\.1 (?:400|421) /);
    const absolute = `GET http://evil.example/v1/health HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nconnection: close\r\n\r\n`;
    assert.match(await raw(absolute), /^HTTP\/1\.1 421 /);
    assert.deepEqual(reached, []);
  });

  it('answers 403 for a foreign Origin, before the token is looked at, and never sends a CORS header', async () => {
    for (const origin of [
      'https://evil.example',
      'null',
      `http://evil.example:${port}`,
      `https://127.0.0.1:${port}`,
      'vscode-webview://x',
    ]) {
      for (const method of ['GET', 'OPTIONS', 'POST']) {
        const answer = await ask(
          '/v1/registry',
          { origin, 'access-control-request-method': 'POST', ...AUTHORIZED },
          method,
        );
        assert.equal(answer.status, 403, `${method} ${origin}`);
        assert.deepEqual(
          Object.keys(answer.headers).filter((name) => name.startsWith('access-control-')),
          [],
        );
      }
    }
    assert.equal((await ask('/v1/registry', { ...AUTHORIZED, origin: `http://127.0.0.1:${port}` })).status, 200);
    assert.deepEqual(reached, ['GET /v1/registry']);
  });

  it('answers 401 before the body is read, and cuts off who goes on sending', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    let answer = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
    socket.write(
      `POST /v1/datasets/x HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: text/csv\r\ncontent-length: 5000000000\r\n\r\n`,
    );
    const started = Date.now();
    const flood = setInterval(() => socket.write('x'.repeat(64 * 1024)), 5);
    await new Promise((done) => socket.once('close', done));
    clearInterval(flood);
    assert.match(answer, /^HTTP\/1\.1 401 /);
    assert.ok(Date.now() - started < 5_000, 'the connection ends soon');
    assert.ok(socket.bytesWritten < 50_000_000, `${socket.bytesWritten} bytes were taken`);
    assert.deepEqual(reached, []);
  });

  it('refuses who asks first with Expect: 100-continue, without asking for the body', async () => {
    const answer = await raw(
      `POST /v1/plan HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n`,
    );
    assert.match(answer, /^HTTP\/1\.1 401 /);
    assert.deepEqual(reached, []);
  });

  it('gives a job’s token only what its scope allows, and nothing once it is revoked', async () => {
    const { token, revoke } = jobTokens.issue(
      (method, path) => method === 'GET' && path.startsWith('/v1/training-sets'),
    );
    const headers = { authorization: `Bearer ${token}` };
    assert.equal((await ask('/v1/training-sets/delays/1/data', headers)).status, 200);
    assert.equal((await ask('/v1/training-sets?limit=1', headers)).status, 200);
    for (const [method, path] of [
      ['POST', '/v1/training-sets'],
      ['GET', '/v1/registry'],
      ['POST', '/v1/publish'],
      ['DELETE', '/v1/jobs/x'],
    ] as const) {
      const answer = await ask(path, headers, method);
      assert.equal(answer.status, 403, path);
      assert.equal(answer.code, 'out_of_scope');
    }
    revoke();
    assert.equal((await ask('/v1/training-sets', headers)).status, 401);
  });

  it('answers headers that are too large, or no HTTP at all, with a problem', async () => {
    const large = await raw(`GET /v1/health HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`);
    assert.match(large, /^HTTP\/1\.1 431 /);
    assert.match(large, /"code":"headers_too_large"/);
    assert.match(await raw('SSH-2.0-OpenSSH\r\n\r\n'), /^HTTP\/1\.1 400 /);
    assert.deepEqual(reached, []);
  });

  it('ends a connection whose headers trickle in', async function () {
    this.timeout(20_000);
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    let answer = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
    socket.write(`GET /v1/health HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n`);
    const trickle = setInterval(() => socket.write('x: y\r\n'), 500);
    const started = Date.now();
    await new Promise((done) => socket.once('close', done));
    clearInterval(trickle);
    assert.ok(Date.now() - started < 15_000);
    assert.match(answer, /^HTTP\/1\.1 408 /);
    assert.match(answer, /"code":"request_too_slow"/);
  });
});
