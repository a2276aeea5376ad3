import { createWriteStream, renameSync, statSync, type WriteStream } from 'node:fs';
import { systemCode } from './fileErrors';

const MAX_LOG_BYTES = 5 * 1024 * 1024;

/** One line an event, JSON, into a file that is renamed to `<file>.1` when it is full: at most two files are kept. */
export interface Log {
  info(event: string, facts?: Facts): void;
  error(event: string, error: unknown, facts?: Facts): void;
  close(): Promise<void>;
}
type Facts = Record<string, string | number | boolean | null | undefined>;

/** `secrets` never reach the file, nor does anything that looks like a bearer token or a URL's password. */
export function openLog(file: string, secrets: readonly string[]): Log {
  let stream = openFile(file);
  let size = sizeOf(file);

  const write = (level: string, event: string, facts: Facts): void => {
    const line = redact(JSON.stringify({ at: new Date().toISOString(), level, event, ...facts }), secrets) + '\n';
    size += Buffer.byteLength(line);
    if (size > MAX_LOG_BYTES) {
      stream.end();
      renameIfThere(file, `${file}.1`);
      stream = openFile(file);
      size = Buffer.byteLength(line);
    }
    stream.write(line);
  };
  return {
    info: (event, facts = {}) => write('info', event, facts),
    error: (event, error, facts = {}) => write('error', event, { ...facts, error: textOf(error) }),
    close: () => new Promise((done) => stream.end(() => done())),
  };
}

/** A full disk or a removed folder must not end the gateway: what can't be logged is lost. */
function openFile(file: string): WriteStream {
  return createWriteStream(file, { flags: 'a', mode: 0o600 }).on('error', () => undefined);
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `\ncaused by ${textOf(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}

export function redact(text: string, secrets: readonly string[]): string {
  let clean = text;
  for (const secret of secrets) if (secret.length >= 8) clean = clean.replaceAll(secret, '[secret]');
  return clean
    .replace(/(bearer\s+)[!-~]+/gi, '$1[secret]')
    .replace(/([?&](?:access_)?token=)[^&\s"]+/gi, '$1[secret]')
    .replace(/(\w+:\/\/[^\s:/@"]*:)[^\s@"]+@/g, '$1[secret]@')
    .replace(/(password["']?\s*[:=]\s*["']?)[^\s"',}]+/gi, '$1[secret]');
}
