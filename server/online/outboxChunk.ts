import { once } from 'node:events';
import { constants, createGzip, gzipSync } from 'node:zlib';
import type { CellBatch, WriteColumns } from './cellBatch';

/** write_seq = batch · 2^20 + position, so a batch holds no more rows than that. */
export const MAX_CHUNK_ROWS = 2 ** 20;
/** Compressed. */
export const MAX_CHUNK_BYTES = 16 * 1024 * 1024;

/** Speed rather than size: the chunk is read once, a moment later. */
const GZIP = { level: 1 };

/** Names of a line's cells, in their order: what `registry.outbox.columns` says. */
export function chunkColumns(columns: WriteColumns): string[] {
  return [...columns.list.map((column) => column.name), 'write_seq'];
}

/** One row's line: a JSON list whose every member is a string or null, the last its position in the chunk. */
export function chunkLine(batch: CellBatch, row: number, position: number): string {
  let line = '[';
  for (const column of batch.columns) {
    const cell = column[row] ?? null;
    line += cell === null ? 'null,' : `${JSON.stringify(cell)},`;
  }
  return `${line}"${position}"]\n`;
}

/** The chunk of a batch that is written by one statement. */
export function packBatch(batch: CellBatch): Buffer {
  let text = '';
  for (let row = 0; row < batch.rows.length; row++) text += chunkLine(batch, row, row);
  return gzipSync(text, GZIP);
}

/** A chunk that is made while its rows are copied; it knows at any time how large it is. */
export class GrowingChunk {
  rows = 0;
  private readonly gzip = createGzip(GZIP);
  private readonly pieces: Buffer[] = [];
  private bytes = 0;

  constructor() {
    this.gzip.on('data', (piece: Buffer) => {
      this.pieces.push(piece);
      this.bytes += piece.length;
    });
  }

  /** Whether so many rows with this much text (in bytes) may be added: the worst case is text that does not compress. */
  takes(rows: number, bytes: number): boolean {
    const overhead = 1_024 + bytes / 1_000;
    return this.rows + rows <= MAX_CHUNK_ROWS && this.bytes + bytes + overhead <= MAX_CHUNK_BYTES;
  }

  async add(rows: number, text: Buffer): Promise<void> {
    this.rows += rows;
    this.gzip.write(text);
    // Only what was flushed is counted in `bytes`.
    await new Promise<void>((resolve) => this.gzip.flush(constants.Z_SYNC_FLUSH, resolve));
  }

  async finish(): Promise<Buffer> {
    const ended = once(this.gzip, 'end');
    this.gzip.end();
    await ended;
    return Buffer.concat(this.pieces);
  }
}
