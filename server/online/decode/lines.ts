import { LoftError } from '../../../contract/errors';
import { MAX_ROW_BYTES, type Bytes } from './rowSource';

/**
 * The bytes as text, piece by piece, without a byte order mark. Throws LoftError 422 `bad_encoding` for what is no UTF-8:
 * to replace such bytes would alter values silently.
 */
export async function* utf8Text(bytes: Bytes): AsyncGenerator<string, void> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let read = 0;
  const decode = (piece?: Uint8Array): string => {
    try {
      return piece === undefined ? decoder.decode() : decoder.decode(piece, { stream: true });
    } catch {
      throw new LoftError(
        422,
        'bad_encoding',
        `The text is not UTF-8 (something after byte ${read} is not). Save it as UTF-8 and send it again.`,
      );
    }
  };
  for await (const piece of bytes()) {
    const text = decode(piece);
    read += piece.length;
    if (text !== '') yield text;
  }
  const rest = decode();
  if (rest !== '') yield rest;
}

/** Lines without their ends (LF or CRLF), one piece's at a time. Throws LoftError 422 `row_too_large` for one beyond `MAX_ROW_BYTES`. */
export async function* lines(bytes: Bytes): AsyncGenerator<string[], void> {
  let rest = '';
  let count = 0;
  for await (const piece of utf8Text(bytes)) {
    if (!piece.includes('\n')) {
      rest += piece;
      if (rest.length > MAX_ROW_BYTES) throw lineTooLong(count);
      continue;
    }
    const found = (rest + piece).split('\n');
    rest = found.pop() ?? '';
    for (const [index, line] of found.entries()) if (line.endsWith('\r')) found[index] = line.slice(0, -1);
    const tooLong = found.findIndex((line) => line.length > MAX_ROW_BYTES);
    if (tooLong !== -1 || rest.length > MAX_ROW_BYTES)
      throw lineTooLong(count + (tooLong === -1 ? found.length : tooLong));
    count += found.length;
    if (found.length > 0) yield found;
  }
  if (rest !== '') yield [rest];
}

function lineTooLong(line: number): LoftError {
  return new LoftError(
    422,
    'row_too_large',
    `Line ${line + 1} is longer than ${MAX_ROW_BYTES} bytes, the most that a row may have.`,
  );
}
