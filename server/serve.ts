import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { CHALLENGE_HEADER, PROOF_HEADER, type ServeLine } from '../contract/discovery';
import { LoftError } from '../contract/errors';
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { openDataFolder, type DataFolder } from './dataFolder';
import { proofOf, readOwnDiscovery } from './discoveryFile';
import { startGateway, type GatewayOptions, type RunningGateway } from './gateway';
import { defaultPython } from './jobs/defaultPython';

/** A first gateway that starts may have to initialise Postgres, or replay its log after a crash. */
const FIRST_READY_TIMEOUT_MS = 300_000;
const POLL_MS = 100;
const PROOF_TIMEOUT_MS = 3_000;

type ServeOptions = Omit<GatewayOptions, 'onProgress' | 'signal'>;

/**
 * Runs a gateway until it is told to end. Prints one JSON line on standard output when it is ready; if the data folder has a
 * gateway already, that one's line, and ends. Answers the exit code.
 */
export async function serve(argv: string[]): Promise<0 | 1 | 2 | 3> {
  // Whoever started us may be gone, and its pipes with it; that is no reason to end.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  let options: ServeOptions;
  try {
    options = await readServeArguments(argv);
  } catch (error) {
    process.stderr.write(
      `featureloft serve: ${error instanceof LoftError ? error.detail : (error as Error).message}\n`,
    );
    return 2;
  }
  try {
    const started = await startOrFind(options);
    if ('found' in started) {
      printLine(started.found);
      return 0;
    }
    return await runUntilEnded(started.gateway);
  } catch (error) {
    const told = error instanceof LoftError ? error.detail : `The start failed: ${(error as Error).message}`;
    process.stderr.write(`featureloft serve: ${told}\n`);
    return error instanceof LoftError && error.status === 409 ? 3 : 1;
  }
}

/** Throws LoftError or TypeError for arguments that make no sense. */
async function readServeArguments(argv: string[], env = process.env): Promise<ServeOptions> {
  const { values } = parseArgs({
    args: argv,
    options: {
      data: { type: 'string' },
      port: { type: 'string', default: '0' },
      host: { type: 'string', default: '127.0.0.1' },
      postgres: { type: 'string' },
      python: { type: 'string' },
    },
  });
  const misuse = (detail: string): LoftError => new LoftError(400, 'bad_arguments', detail);
  const { data, host } = values;
  if (data === undefined || data === '') throw misuse('--data takes the data folder.');
  const port = Number(values.port);
  if (!/^\d{1,5}$/.test(values.port) || port > 65_535) throw misuse(`--port takes 0 to 65535, found ${values.port}.`);
  if (!['127.0.0.1', '::1', 'localhost'].includes(host)) {
    throw misuse(
      `--host ${host} would put the gateway on a network, which needs TLS; this version serves 127.0.0.1, ::1 and localhost only.`,
    );
  }
  const postgres = await postgresUrl(values.postgres, env);
  return {
    dataDir: data,
    host,
    port,
    python: pythonPath(values.python ?? env['FEATURELOFT_PYTHON'] ?? defaultPython()),
    ...(postgres === undefined ? {} : { postgres }),
  };
}

/** A job runs in a folder of its own, so a relative path must be taken from here. A bare name is looked for on the PATH. */
function pythonPath(python: string): string {
  return /[\\/]/.test(python) ? resolve(python) : python;
}

/** Everybody on the machine can read a command line: a password comes in by the environment or a file. */
async function postgresUrl(argument: string | undefined, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  if (argument !== undefined) {
    const url = parsePostgresUrl(argument, '--postgres');
    if (url.password !== '' || url.searchParams.has('password')) {
      throw new LoftError(
        400,
        'password_in_arguments',
        '--postgres holds a password, which every account of this machine can read there. Put the URL into FEATURELOFT_POSTGRES_URL, its file into FEATURELOFT_POSTGRES_URL_FILE, or the password into PGPASSFILE.',
      );
    }
    return argument;
  }
  const file = env['FEATURELOFT_POSTGRES_URL_FILE'];
  const text = env['FEATURELOFT_POSTGRES_URL'] || (file ? (await readFile(file, 'utf8')).trim() : undefined);
  if (!text) return undefined;
  parsePostgresUrl(text, file ? 'FEATURELOFT_POSTGRES_URL_FILE' : 'FEATURELOFT_POSTGRES_URL');
  return text;
}

function parsePostgresUrl(text: string, where: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url && /^postgres(?:ql)?:$/.test(url.protocol)) return url;
  throw new LoftError(400, 'bad_postgres_url', `${where} takes a URL such as postgres://user@host:5432/database.`);
}

async function startOrFind(options: ServeOptions): Promise<{ gateway: RunningGateway } | { found: ServeLine }> {
  const deadline = Date.now() + FIRST_READY_TIMEOUT_MS;
  let told = false;
  for (;;) {
    try {
      return { gateway: await start(options) };
    } catch (error) {
      if (!(error instanceof LoftError && error.code === 'gateway_runs')) throw error;
    }
    const folder = await openDataFolder(options.dataDir);
    const found = await findFirst(folder);
    if (found) return { found };
    if (Date.now() > deadline) {
      throw new LoftError(
        503,
        'gateway_not_ready',
        `Another gateway holds ${folder.dir} and has not become ready in ${FIRST_READY_TIMEOUT_MS / 1_000} s. Its log is ${folder.logsDir}. End it, and try again.`,
      );
    }
    if (!told) process.stderr.write('Another gateway of this data folder is starting; waiting for it.\n');
    told = true;
    await delay(POLL_MS);
  }
}

/** What a signal during the start must not leave half open is closed by `startGateway` itself. */
async function start(options: ServeOptions): Promise<RunningGateway> {
  const abort = new AbortController();
  const onSignal = (): void => abort.abort(new LoftError(503, 'stopped', 'Stopped while it was starting.'));
  process.once('SIGTERM', onSignal);
  process.once('SIGINT', onSignal);
  try {
    return await startGateway({
      ...options,
      signal: abort.signal,
      onProgress: (line) => process.stderr.write(`${line}\n`),
    });
  } finally {
    process.off('SIGTERM', onSignal);
    process.off('SIGINT', onSignal);
  }
}

/** The gateway that holds the folder, once it answers; the discovery file may be an earlier one's. */
async function findFirst(folder: DataFolder): Promise<ServeLine | undefined> {
  const discovery = await readOwnDiscovery(folder);
  if (!discovery) return undefined;
  const challenge = randomBytes(32).toString('hex');
  try {
    const response = await fetch(new URL('/v1/health', discovery.url), {
      headers: { [CHALLENGE_HEADER]: challenge },
      redirect: 'error',
      signal: AbortSignal.timeout(PROOF_TIMEOUT_MS),
    });
    await response.body?.cancel();
    const proof = Buffer.from(response.headers.get(PROOF_HEADER) ?? '');
    const expected = Buffer.from(proofOf(folder.token, challenge));
    if (proof.length !== expected.length || !timingSafeEqual(proof, expected)) return undefined;
  } catch {
    return undefined;
  }
  const { url, tokenFile, pid, version } = discovery;
  return { url, tokenFile, pid, version };
}

async function runUntilEnded(gateway: RunningGateway): Promise<0 | 1> {
  const { url, tokenFile, pid, version } = gateway;
  printLine({ url, tokenFile, pid, version });
  return new Promise((done) => {
    let stopping = false;
    const stop = (why: string, code: 0 | 1 = 0): void => {
      if (stopping) {
        process.stderr.write('Told to end twice: ending without tidying up. The next start does it.\n');
        process.exit(1);
      }
      stopping = true;
      process.stderr.write(`${why}: finishing what is under way.\n`);
      gateway.close().then(
        () => done(code),
        (error: unknown) => {
          process.stderr.write(
            `The gateway did not end in order: ${error instanceof Error ? error.message : String(error)}\n`,
          );
          done(1);
        },
      );
    };
    process.on('SIGTERM', () => stop('SIGTERM'));
    process.on('SIGINT', () => stop('SIGINT'));
    // A terminal that closes ends what was started in it by hand; a detached gateway never gets this.
    process.on('SIGHUP', () => stop('SIGHUP'));
    process.on('uncaughtException', (error) => {
      gateway.log.error('uncaught', error);
      process.stderr.write(`The gateway failed and ends; its log says why: ${error.message}\n`);
      if (stopping) process.exit(1);
      stop('Failed', 1);
    });
  });
}

function printLine(line: ServeLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
