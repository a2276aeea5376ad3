import { createReadStream } from 'node:fs';
import { refused } from './staged';

const QUOTE = 0x22;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Throws 422 for a record longer than `limit` bytes, because DuckDB leaves out some of these without a word. */
export async function refuseLongRecords(file: string, limit: number): Promise<void> {
  let quoted = false;
  let length = 0;
  let line = 1;
  let firstLine = 1;
  for await (const bytes of createReadStream(file, { highWaterMark: 1_048_576 }) as AsyncIterable<Buffer>) {
    for (const byte of bytes) {
      length++;
      if (byte === QUOTE) quoted = !quoted;
      if (byte === LINE_FEED) line++;
      if (!quoted && (byte === LINE_FEED || byte === CARRIAGE_RETURN)) {
        length = 0;
        firstLine = line;
      }
    }
    if (length > limit) {
      throw refused('bad_csv', 'The CSV file can’t be read', [
        {
          path: `line ${firstLine}`,
          code: 'long_line',
          found: `a row of more than ${Math.floor(limit / 1_048_576)} MB`,
          expected: 'shorter rows, or a quote that is closed',
        },
      ]);
    }
  }
}
