import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rm, type FileHandle } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { LoftError } from '../../contract/errors';
import { fileError } from '../fileErrors';
import { withPauseLimit } from './body';

/** Larger bodies go to a file: many clients that push at once must not fill the memory. */
const KEPT_IN_MEMORY_BYTES = 1024 * 1024;
const MAX_ROWS_BYTES = 8 * 1024 ** 3;

/** A body that can be read from its start as often as needed. */
export interface Spooled {
  bytes: () => AsyncIterable<Uint8Array>;
  /** Of the body's bytes. */
  sha256: string;
  length: number;
  release(): Promise<void>;
}

/** Reads the body to its end before anything is done with it; `tmpDir` holds what is large. */
export async function spool(request: IncomingMessage, tmpDir: string): Promise<Spooled> {
  const hash = createHash('sha256');
  const kept: Buffer[] = [];
  let length = 0;
  let file: { path: string; handle: FileHandle } | undefined;
  try {
    for await (const chunk of withPauseLimit(request)) {
      length += chunk.length;
      if (length > MAX_ROWS_BYTES)
        throw new LoftError(413, 'body_too_large', `A body of rows may have ${MAX_ROWS_BYTES} bytes. Split it.`);
      hash.update(chunk);
      if (file) await file.handle.appendFile(chunk);
      else {
        kept.push(chunk);
        if (length > KEPT_IN_MEMORY_BYTES) {
          const path = join(tmpDir, `body-${randomUUID()}`);
          file = { path, handle: await open(path, 'wx', 0o600) };
          await file.handle.appendFile(Buffer.concat(kept.splice(0)));
        }
      }
    }
    await file?.handle.close();
  } catch (error) {
    if (file) {
      await file.handle.close().catch(() => undefined);
      await rm(file.path, { force: true });
    }
    throw fileError(error, tmpDir);
  }
  const path = file?.path;
  return {
    bytes: () => (path === undefined ? Readable.from(kept) : createReadStream(path)) as AsyncIterable<Buffer>,
    sha256: hash.digest('hex'),
    length,
    release: async () => {
      if (path !== undefined) await rm(path, { force: true });
    },
  };
}
