import type { Cell } from '../../../contract/cells';
import { readDefinitions } from '../../../contract/definitions';
import { LoftError, type Problem } from '../../../contract/errors';
import { writeColumns } from '../../../server/online/cellBatch';
import { RowProblems } from '../../../server/online/decode/problems';
import type { RowSource } from '../../../server/online/decode/rowSource';
import { makeViewVersion } from '../../../server/registry/load';
import type { ViewVersion } from '../../../server/registry/snapshot';

/** A view made from a definition as people write it. */
export function viewOf(
  view: { features: object } & Record<string, unknown>,
  keys: object = { origin: 'string' },
): ViewVersion {
  const definitions = readDefinitions({
    entities: [{ name: 'airport', keys }],
    views: [{ name: 'weather', entity: 'airport', ...view }],
  });
  const [definition] = definitions.views;
  const [entity] = definitions.entities;
  if (definition === undefined || entity === undefined) throw new Error('no view');
  return makeViewVersion({ version: 1, current: true, definition, entity });
}

export interface Decoded {
  /** Each good row by column, nulls left out. */
  rows: Record<string, Cell>[];
  numbers: number[];
  problems: Problem[];
  bad: RowProblems;
}

export async function decode(view: ViewVersion, source: RowSource): Promise<Decoded> {
  const bad = new RowProblems();
  const names = writeColumns(view).list.map((column) => column.name);
  const decoded: Decoded = { rows: [], numbers: [], problems: [], bad };
  for await (const batch of source(view, bad)) {
    for (const [position, number] of batch.rows.entries()) {
      const cells = names.map((name, index): [string, Cell] => [name, batch.columns[index]?.[position] ?? null]);
      decoded.rows.push(Object.fromEntries(cells.filter(([, cell]) => cell !== null)));
      decoded.numbers.push(number);
    }
  }
  decoded.problems = bad.listed;
  return decoded;
}

export async function refusalOf(work: Promise<unknown> | (() => unknown)): Promise<LoftError> {
  try {
    await (typeof work === 'function' ? work() : work);
  } catch (error) {
    if (error instanceof LoftError) return error;
    throw error;
  }
  throw new Error('expected a refusal');
}

/** The bytes in pieces of a given size, so that a character or a line may be cut anywhere. */
export function inPieces(text: string | Buffer, size = 7): () => AsyncIterable<Uint8Array> {
  const bytes = Buffer.from(text);
  // eslint-disable-next-line @typescript-eslint/require-await
  return async function* () {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  };
}
