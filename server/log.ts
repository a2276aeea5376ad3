import { closeSync, openSync, renameSync, statSync, writeSync } from 'node:fs';

const MAX_LOG_BYTES = 5 * 1024 * 1024;

/** One line an event, JSON, into a file that is renamed to `<file>.1` when it is full: at most two files are kept. */
export interface Log {
  info(event: string, facts?: Facts): void;
  error(event: string, error: unknown, facts?: Facts): void;
  close(): Promise<void>;
}
type Facts = Record<string, string | number | boolean | null | undefined>;

export interface RedactedLog extends Log {
  /** Keeps a secret out of every line from now on. */
  hide(secret: string): void;
}

/**
 * What `hide` was told never reaches the file, nor does anything that looks like a bearer token or a URL's password. Lines are
 * few and written at once, so that the last one before a crash is there.
 */
export function openLog(file: string): RedactedLog {
  const secrets: string[] = [];
  let fd: number | undefined = openFile(file);
  let size = statSync(file).size;

  const write = (level: string, event: string, facts: Facts): void => {
    if (fd === undefined) return;
    const clean = Object.entries(facts).map(([name, value]) => [
      name,
      typeof value === 'string' ? redact(value, secrets) : value,
    ]);
    const line = JSON.stringify({ at: new Date().toISOString(), level, event, ...Object.fromEntries(clean) }) + '\n';
    size += Buffer.byteLength(line);
    try {
      if (size > MAX_LOG_BYTES) {
        closeSync(fd);
        fd = undefined;
        renameSync(file, `${file}.1`);
        fd = openFile(file);
        size = Buffer.byteLength(line);
      }
      writeSync(fd, line);
    } catch {
      // A full disk or a removed folder must not end the gateway: what can't be logged is lost.
    }
  };
  return {
    info: (event, facts = {}) => write('info', event, facts),
    error: (event, error, facts = {}) => write('error', event, { ...facts, error: textOf(error) }),
    hide: (secret) => void secrets.push(secret),
    close: () => {
      if (fd !== undefined) closeSync(fd);
      fd = undefined;
      return Promise.resolve();
    },
  };
}

function openFile(file: string): number {
  return openSync(file, 'a', 0o600);
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `\ncaused by ${textOf(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}

function redact(text: string, secrets: readonly string[]): string {
  let clean = text;
  for (const secret of secrets) if (secret.length >= 8) clean = clean.replaceAll(secret, '[secret]');
  return clean
    .replace(/(bearer\s{1,3})[!-~]+/gi, '$1[secret]')
    .replace(/([?&](?:access_)?token=)[^&\s"]+/gi, '$1[secret]')
    .replace(/(\b\w{1,20}:\/\/[^\s:/@"]{0,200}:)[^\s@"]{1,500}@/g, '$1[secret]@')
    .replace(/(password["']?\s{0,3}[:=]\s{0,3}["']?)[^\s"',}]+/gi, '$1[secret]');
}
