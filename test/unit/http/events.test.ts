import { once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { EventStream } from '../../../server/http/events';

describe('a stream of events', () => {
  it('ends at once for a client that went away before it was opened', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const client = httpRequest({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, agent: false });
      client.on('error', () => undefined).end();
      await new Promise<void>((done, failed) => {
        server.once('request', (request, response) => {
          response.once('close', () => void EventStream.open(request, response).closed.then(done, failed));
          client.destroy();
        });
      });
    } finally {
      server.close();
    }
  });
});
