import type { IncomingMessage } from 'node:http';
import type { z } from 'zod';
import { LoftError, type Problem } from '../../contract/errors';
import { JsonError, parseJson, type JsonValue } from '../../contract/json';

/** Rows and definitions in JSON are held in memory; what is larger comes as CSV, NDJSON or Parquet, which stream. */
export const MAX_JSON_BYTES = 32 * 1024 * 1024;
/** A sender that pauses this long in the middle of a body is gone. */
const BODY_PAUSE_MS = 30_000;

/** The media type without its parameters, lower case; undefined when there is none. */
export function mediaType(request: IncomingMessage): string | undefined {
  const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
  return type === '' ? undefined : type;
}

/** Only plain UTF-8: a compressed body could be a bomb, and another character set would be read wrong. */
export function demandPlainEncoding(request: IncomingMessage): void {
  const coding = request.headers['content-encoding'];
  if (coding !== undefined && coding.toLowerCase() !== 'identity') {
    throw new LoftError(415, 'unsupported_encoding', `Bodies must be sent as they are; this one is ${coding}-encoded.`);
  }
  const charset = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(request.headers['content-type'] ?? '')?.[1];
  if (charset !== undefined && !/^(utf-?8|us-ascii)$/i.test(charset)) {
    throw new LoftError(415, 'unsupported_charset', `Bodies must be UTF-8; this one says ${charset}.`);
  }
}

function demandJson(request: IncomingMessage): void {
  demandPlainEncoding(request);
  const type = mediaType(request);
  if (type === 'application/json' || type?.endsWith('+json') === true) return;
  throw new LoftError(
    415,
    'unsupported_media_type',
    `This route takes application/json; the request ${type === undefined ? 'has no Content-Type' : `says ${type}`}.`,
  );
}

/** The whole body as text. Throws 413 as soon as it is known to be too long, 400 for bytes that are not UTF-8, 408 for a pause. */
export async function readText(request: IncomingMessage, maxBytes: number): Promise<string> {
  const tooLong = (): LoftError =>
    new LoftError(
      413,
      'body_too_large',
      `A JSON body may have ${maxBytes} bytes. Send more rows in several requests, or as CSV, NDJSON or Parquet.`,
    );
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLong();
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of withPauseLimit(request)) {
    length += chunk.length;
    if (length > maxBytes) throw tooLong();
    chunks.push(chunk);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new LoftError(400, 'bad_utf8', 'The body is not valid UTF-8.');
  }
}

/** The body's bytes; fails when its sender pauses for too long or goes away. */
export async function* withPauseLimit(request: IncomingMessage): AsyncGenerator<Buffer, void> {
  let timer: NodeJS.Timeout | undefined;
  const arm = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      request.destroy(new LoftError(408, 'body_too_slow', 'The body stopped in the middle for 30 s.'));
    }, BODY_PAUSE_MS);
  };
  arm();
  try {
    // Left open at the end, so that a refusal can still be answered.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      clearTimeout(timer);
      yield chunk;
      arm();
    }
  } catch (error) {
    if (error instanceof LoftError) throw error;
    throw new LoftError(400, 'body_cut_off', 'The connection ended in the middle of the body.', { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

export async function readJson(request: IncomingMessage): Promise<JsonValue> {
  demandJson(request);
  return parseJsonBody(await readText(request, MAX_JSON_BYTES));
}

function parseJsonBody(text: string): JsonValue {
  try {
    return parseJson(text);
  } catch (error) {
    if (error instanceof JsonError) {
      throw new LoftError(400, error.code, error.message, { extra: { position: error.position } });
    }
    throw error;
  }
}

/** Parses what came in by its schema; every issue becomes a problem with its path. */
export function parseBy<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  status: 400 | 422,
  code: string,
): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue): Problem => ({
    path: issue.path.map(String).join('.'),
    code,
    expected: issue.message,
  }));
  const first = problems[0];
  const where = first?.path ? `${first.path}: ` : '';
  throw new LoftError(status, code, `${where}${first?.expected ?? 'not what this route takes'}.`, { problems });
}
