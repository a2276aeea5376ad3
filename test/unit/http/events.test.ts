import assert from 'node:assert/strict';
import { createServer, request, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { readEvents, type ServerEvent } from '../../../client/eventReader';
import { LoftError } from '../../../contract/errors';
import { EventStream, lastEventId } from '../../../server/http/events';

describe('server-sent events', () => {
  let server: Server | undefined;
  afterEach(() => server?.closeAllConnections());
  afterEach(() => server?.close());

  /** Serves one stream and answers both of its ends. */
  async function open(): Promise<{ stream: EventStream; response: IncomingMessage }> {
    return new Promise((done) => {
      let stream: EventStream;
      server = createServer((incoming, outgoing) => (stream = EventStream.open(incoming, outgoing))).listen(
        0,
        '127.0.0.1',
        () => {
          const { port } = server?.address() as AddressInfo;
          request({ host: '127.0.0.1', port })
            .once('response', (response: IncomingMessage) => done({ stream, response }))
            .once('error', () => undefined)
            .end();
        },
      );
    });
  }

  it('arrive as they were sent, with their ids', async () => {
    const { stream, response } = await open();
    assert.equal(response.headers['content-type'], 'text/event-stream; charset=utf-8');
    stream.mark('6');
    stream.send('change', '{"text":"é\\n"}', '7');
    stream.send('resync', '{}');
    stream.end();
    const events: ServerEvent[] = [];
    for await (const event of readEvents(response)) events.push(event);
    assert.deepEqual(events, [
      { event: 'message', data: '', id: '6' },
      { event: 'change', data: '{"text":"é\\n"}', id: '7' },
      { event: 'resync', data: '{}', id: undefined },
    ]);
    await stream.closed;
  });

  it('to a client that does not read are cut off, and hold no memory', async () => {
    const { stream, response } = await open();
    response.on('error', () => undefined);
    response.pause();
    const data = JSON.stringify('x'.repeat(64 * 1024));
    let sent = 0;
    for (; stream.isOpen && sent < 1_000; sent++) {
      stream.send('change', data, String(sent));
      await new Promise(setImmediate);
    }
    assert.ok(sent < 1_000, 'the stream was ended');
    assert.equal(stream.isOpen, false);
    await stream.closed;
  });

  it('are read whole, however their bytes are cut', async () => {
    const text = Buffer.from(
      ': hello\n\nid: 1\nevent: change\ndata: "ü€😀"\n\nevent: change\r\ndata: a\r\ndata: b\r\n\r\n',
    );
    for (const size of [1, 2, 3, 7, 1_000]) {
      const chunks = Array.from({ length: Math.ceil(text.length / size) }, (_, at) =>
        text.subarray(at * size, (at + 1) * size),
      );
      const events: ServerEvent[] = [];
      for await (const event of readEvents(Readable.from(chunks))) events.push(event);
      assert.deepEqual(events, [
        { event: 'change', data: '"ü€😀"', id: '1' },
        { event: 'change', data: 'a\nb', id: undefined },
      ]);
    }
  });

  it('resume after a Last-Event-ID that is a number, and after no other', () => {
    const asked = (header?: string): number | undefined =>
      lastEventId({ headers: header === undefined ? {} : { 'last-event-id': header } } as unknown as IncomingMessage);
    assert.deepEqual([asked(), asked(''), asked('0'), asked('17')], [undefined, undefined, 0, 17]);
    for (const header of ['-1', '1.5', 'x', '9'.repeat(30)]) assert.throws(() => asked(header), LoftError);
  });
});
