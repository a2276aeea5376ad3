import type { Readable } from 'node:stream';

export interface ServerEvent {
  event: string;
  data: string;
  id: string | undefined;
}

const MAX_EVENT_CHARACTERS = 16 * 1024 * 1024;

/** Reads server-sent events from a response's bytes. Comments, such as heartbeats, only show in `onBytes`. */
export async function* readEvents(stream: Readable, onBytes?: () => void): AsyncGenerator<ServerEvent, void> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    onBytes?.();
    rest += decoder.decode(chunk, { stream: true }).replaceAll('\r', '');
    if (rest.length > MAX_EVENT_CHARACTERS) throw new Error('an event that is larger than any gateway sends');
    const blocks = rest.split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const event = parseBlock(block);
      if (event) yield event;
    }
  }
}

function parseBlock(block: string): ServerEvent | undefined {
  let event = 'message';
  let id: string | undefined;
  const data: string[] = [];
  for (const line of block.split('\n')) {
    const colon = line.indexOf(':');
    if (colon <= 0) continue;
    const value = line.slice(colon + 1).replace(/^ /, '');
    switch (line.slice(0, colon)) {
      case 'event':
        event = value;
        break;
      case 'id':
        id = value;
        break;
      case 'data':
        data.push(value);
        break;
    }
  }
  // A block with an id alone says where the stream stands.
  return data.length > 0 || id !== undefined ? { event, data: data.join('\n'), id } : undefined;
}
