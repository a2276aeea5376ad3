import { pipeline } from 'node:stream/promises';
import type { PoolClient } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import type { Cell } from '../../contract/cells';
import { compareCells } from '../../contract/cells';
import { parseValueType } from '../../contract/valueTypes';
import { timestampCell } from '../postgres/columnTypes';
import type { ViewVersion } from '../registry/snapshot';
import { writeColumns, type CellBatch } from './cellBatch';
import { chunkColumns, chunkLine, GrowingChunk, MAX_CHUNK_ROWS } from './outboxChunk';
import { stagingSql } from './upsert';

/** How much is copied at a time, in UTF-16 units of its cells. */
const PIECE_SIZE = 512 * 1024;
const STATEMENT_TIMEOUT = '1h';
/** For the sort by key. */
const SORT_MEMORY = '64MB';

const timestamp = parseValueType('timestamp');

/** A chunk that is being staged: its number and clock, drawn when it began. */
interface OpenChunk {
  batch: bigint;
  clock: string;
  body: GrowingChunk;
  newestEvent: string;
}

/**
 * Many rows in one transaction: staged by COPY in the session's own table, each chunk's outbox row beside it, and only
 * then, by one statement, put into the view's table. Memory holds a piece of rows and one compressed chunk. The view's
 * table is not touched, nor any of its rows locked, before `upsert`.
 */
export class BulkLoad {
  private readonly sql: ReturnType<typeof stagingSql>;
  private chunk: OpenChunk | undefined;

  constructor(
    private readonly client: PoolClient,
    private readonly view: ViewVersion,
    private readonly gateway: string,
  ) {
    this.sql = stagingSql(view);
  }

  async begin(): Promise<void> {
    await this.client.query(`SET LOCAL statement_timeout = '${STATEMENT_TIMEOUT}'`);
    await this.client.query(`SET LOCAL work_mem = '${SORT_MEMORY}'`);
    await this.client.query(this.sql.create);
  }

  async stage(batch: CellBatch): Promise<void> {
    for (let row = 0; row < batch.rows.length;) {
      this.chunk ??= await this.openChunk();
      let piece = takePiece(batch, row, this.chunk);
      if (!this.chunk.body.takes(piece.rows, piece.lines.length)) {
        await this.closeChunk();
        this.chunk = await this.openChunk();
        piece = takePiece(batch, row, this.chunk);
      }
      await this.chunk.body.add(piece.rows, piece.lines);
      await pipeline([piece.copied], this.client.query(copyFrom(this.sql.copy)));
      this.noteNewest(this.chunk, batch, row, piece.rows);
      row += piece.rows;
    }
  }

  /** Answers how many rows stand in the table now; undefined, and nothing done, when the head is at another version. */
  async upsert(registryVersion: number): Promise<number | undefined> {
    await this.closeChunk();
    const { rows } = await this.client.query<string[]>({
      text: this.sql.upsert,
      values: [registryVersion],
      rowMode: 'array',
    });
    const [head, written] = rows[0] ?? [];
    return head === '1' ? Number(written) : undefined;
  }

  private async openChunk(): Promise<OpenChunk> {
    const { rows } = await this.client.query<{ batch: string; clock: string }>(
      `SELECT nextval('registry.batch_seq') AS batch, statement_timestamp() AS clock`,
    );
    const [row] = rows;
    if (row === undefined) throw new Error('no batch number');
    return { batch: BigInt(row.batch), clock: timestampCell(row.clock), body: new GrowingChunk(), newestEvent: '' };
  }

  private async closeChunk(): Promise<void> {
    if (this.chunk === undefined) return;
    const { batch, clock, body, newestEvent } = this.chunk;
    this.chunk = undefined;
    await this.client.query(
      `INSERT INTO registry.outbox (batch, view, version, columns, row_count, newest_event, clock, body, gateway)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
      [
        batch.toString(),
        this.view.name,
        this.view.version,
        JSON.stringify(chunkColumns(writeColumns(this.view))),
        body.rows,
        newestEvent,
        clock,
        await body.finish(),
        this.gateway,
      ],
    );
  }

  private noteNewest(chunk: OpenChunk, batch: CellBatch, from: number, count: number): void {
    const events = batch.columns[writeColumns(this.view).event] ?? [];
    for (let row = from; row < from + count; row++) {
      const event = events[row] ?? '';
      if (chunk.newestEvent === '' || compareCells(timestamp, event, chunk.newestEvent) > 0) chunk.newestEvent = event;
    }
  }
}

/** The rows from `from` on as lines of the chunk and as lines of COPY; at least one. */
function takePiece(batch: CellBatch, from: number, chunk: OpenChunk): { rows: number; lines: Buffer; copied: Buffer } {
  const first = chunk.batch * BigInt(MAX_CHUNK_ROWS);
  const created = batch.columns.length - 1;
  let [lines, copied] = ['', ''];
  let row = from;
  while (row < batch.rows.length && lines.length < PIECE_SIZE) {
    const position = chunk.body.rows + row - from;
    lines += chunkLine(batch, row, position);
    for (const [index, column] of batch.columns.entries()) {
      const cell = column[row] ?? (index === created ? chunk.clock : null);
      copied += `${copyField(cell)}\t`;
    }
    copied += `${first + BigInt(position)}\n`;
    row++;
  }
  return { rows: row - from, lines: Buffer.from(lines), copied: Buffer.from(copied) };
}

/** A field of COPY's text format. */
function copyField(cell: Cell): string {
  if (cell === null) return '\\N';
  if (!/[\\\t\n\r]/.test(cell)) return cell;
  return cell.replace(/[\\\t\n\r]/g, (sign) => copyEscapes[sign] ?? sign);
}

const copyEscapes: Record<string, string> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };
