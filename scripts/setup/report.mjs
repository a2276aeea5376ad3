// What the scripts say: one line a fact with the seconds since the start, and for a failure what to do about it.
const started = Date.now();

export function say(line) {
  const seconds = ((Date.now() - started) / 1000).toFixed(1).padStart(6);
  process.stdout.write(`${seconds} s  ${line}\n`);
}

/** Takes text in pieces and says it line by line. */
export function lineSayer() {
  let open = '';
  return (text) => {
    const lines = (open + text).split('\n');
    open = lines.pop();
    for (const line of lines) say(line);
  };
}

/** A failure that its user can mend: what is wrong, and the way out. */
export class SetupError extends Error {
  constructor(message, wayOut) {
    super(message);
    this.wayOut = wayOut;
  }
}

/** Runs a script's main function; what its user can mend becomes two plain lines and exit code 1. */
export async function main(action) {
  try {
    process.exit((await action()) ?? 0);
  } catch (error) {
    const known = error instanceof SetupError ? error : fileError(error);
    if (known === undefined) throw error;
    process.stderr.write(`\n${known.message}\n→ ${known.wayOut}\n`);
    process.exit(1);
  }
}

const CAUSES = [
  [
    /ENOSPC|No space left on device/i,
    'The disk is full.',
    'Free about 2 GB on the disk of this checkout, then run the same command again.',
  ],
  [
    /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|NetworkError|NewConnectionError|name resolution|Connection (refused|broken|reset)|Read timed out/i,
    'The package registry cannot be reached.',
    'Check the network (and the proxy settings of npm and pip), then run the same command again: what is there is kept.',
  ],
  [
    /EACCES|EPERM|EROFS|Permission denied|Read-only file system/i,
    'A file cannot be written.',
    'Run as the user that owns this checkout, or clone it again as this user.',
  ],
];

/** A full disk or a folder of another user, met by a script itself. */
function fileError({ code, message }) {
  if (typeof code !== 'string' || !/^(ENOSPC|EACCES|EPERM|EROFS)$/.test(code)) return undefined;
  const [, cause, wayOut] = CAUSES.find(([pattern]) => pattern.test(code));
  return new SetupError(`${message}\n${cause}`, wayOut);
}

/** The error for a failed child process: its likely cause in plain words, and the end of its output. */
export function failureOf(what, { code, timedOut, output, seconds }) {
  const lines = output.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('WARNING: Retrying'));
  const tail = lines.slice(-12).join('\n');
  const how = timedOut ? `did not end within ${Math.round(seconds)} s` : `failed (exit code ${code})`;
  const [, cause, wayOut] = CAUSES.find(([pattern]) => pattern.test(output)) ?? [
    null,
    '',
    timedOut ? 'Run the same command again; a slow network may need a second try.' : 'The lines above say why.',
  ];
  return new SetupError(`${tail}\n\n${what} ${how}. ${cause}`.trim(), wayOut);
}
