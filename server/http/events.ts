import type { IncomingMessage, ServerResponse } from 'node:http';
import { LoftError } from '../../contract/errors';

const HEARTBEAT_MS = 15_000;
/** A client that reads this much too slowly is cut off; it comes back with Last-Event-ID. */
const MAX_UNSENT_BYTES = 1024 * 1024;
const RETRY_MS = 1_000;

/** One client's stream of server-sent events. */
export class EventStream {
  private readonly heartbeat: NodeJS.Timeout;
  /** Settles when the client is gone, or was cut off. */
  readonly closed: Promise<void>;

  /** Answers the head of the stream at once, so that the client knows that it is connected. */
  static open(request: IncomingMessage, response: ServerResponse): EventStream {
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    request.socket.setNoDelay(true);
    const stream = new EventStream(response);
    stream.write(`retry: ${RETRY_MS}\n\n`);
    return stream;
  }

  private constructor(private readonly response: ServerResponse) {
    this.heartbeat = setInterval(() => this.write(': alive\n\n'), HEARTBEAT_MS);
    this.closed = new Promise((done) => {
      const close = (): void => {
        clearInterval(this.heartbeat);
        done();
      };
      // A client may be gone before its stream is opened, and 'close' does not come twice.
      if (response.closed) close();
      else response.once('close', close);
    });
  }

  get isOpen(): boolean {
    return !this.response.destroyed && !this.response.writableEnded;
  }

  /** `data` is one JSON text, which has no line break. */
  send(event: string, data: string, id?: string): void {
    this.write(`${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${data}\n\n`);
  }

  /** Where the stream stands, for a client that loses it before the first event. */
  mark(id: string): void {
    this.write(`id: ${id}\n\n`);
  }

  end(): void {
    if (this.isOpen) this.response.end();
  }

  private write(text: string): void {
    if (!this.isOpen) return;
    this.response.write(text);
    if (this.response.writableLength > MAX_UNSENT_BYTES) this.response.destroy();
  }
}

/** The position that a client saw last; undefined for a client that starts anew. */
export function lastEventId(request: IncomingMessage): number | undefined {
  const header = request.headers['last-event-id'];
  if (header === undefined || header === '') return undefined;
  const text = String(header);
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new LoftError(
    400,
    'bad_last_event_id',
    `Last-Event-ID is ${JSON.stringify(text.slice(0, 40))}, expected the id of an event of this stream.`,
  );
}
