import type { IncomingMessage } from 'node:http';
import { LoftError } from '../../contract/errors';
import type { FileFormat } from '../offline/protocol';

/** The formats that stored data leaves in, the preferred first. */
const offered = [
  { format: 'parquet', type: 'application/vnd.apache.parquet' },
  { format: 'csv', type: 'text/csv' },
  { format: 'ndjson', type: 'application/x-ndjson' },
] as const satisfies { format: FileFormat; type: string }[];

export const contentTypes = { parquet: offered[0].type, csv: 'text/csv; charset=utf-8', ndjson: offered[2].type };
const alternatives: readonly { format: FileFormat; type: string }[] = [
  { format: 'parquet', type: 'application/parquet' },
  { format: 'parquet', type: 'application/x-parquet' },
  { format: 'parquet', type: 'application/octet-stream' },
  { format: 'ndjson', type: 'application/ndjson' },
  { format: 'ndjson', type: 'application/jsonl' },
];

/** The format that `Accept` likes best; Parquet when it likes all the same. Throws 406. */
export function chooseFormat(request: IncomingMessage): FileFormat {
  const accept = request.headers.accept ?? '*/*';
  const wanted = accept.split(',').map(readRange);
  let best: { format: FileFormat; quality: number } | undefined;
  for (const { format, type } of offered) {
    const names = [type, ...alternatives.filter((one) => one.format === format).map((one) => one.type)];
    const quality = qualityOf(names, wanted);
    if (quality > 0 && quality > (best?.quality ?? 0)) best = { format, quality };
  }
  if (best) return best.format;
  throw new LoftError(
    406,
    'not_acceptable',
    `Stored data leaves as ${offered.map(({ type }) => type).join(', ')}; the request accepts ${accept.slice(0, 200)}.`,
  );
}

interface MediaRange {
  type: string;
  quality: number;
}

function readRange(text: string): MediaRange {
  const [type = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase());
  const quality = Number(
    parameters
      .find((parameter) => parameter.startsWith('q='))
      ?.slice(2)
      .trim() ?? '1',
  );
  return { type, quality: Number.isFinite(quality) ? quality : 0 };
}

/** The most exact range that names the type, by any of its names, decides (RFC 9110). */
function qualityOf(names: readonly string[], ranges: readonly MediaRange[]): number {
  const exact = ranges.filter((range) => names.includes(range.type));
  if (exact.length > 0) return Math.max(...exact.map((range) => range.quality));
  const group = `${names[0]?.split('/', 1)[0]}/*`;
  const found = ranges.find((range) => range.type === group) ?? ranges.find((range) => range.type === '*/*');
  return found?.quality ?? 0;
}

/** The format of an uploaded body, by its Content-Type. Throws 415. */
export function formatOfBody(type: string | undefined): FileFormat {
  if (type === 'text/csv') return 'csv';
  const found = [...offered, ...alternatives].find((one) => one.type === type)?.format;
  if (found) return found;
  throw new LoftError(
    415,
    'unsupported_media_type',
    `Rows come as ${offered.map((one) => one.type).join(', ')}; the request ${type === undefined ? 'has no Content-Type' : `says ${type}`}.`,
  );
}
