import { randomBytes } from 'node:crypto';
import { chmod, lstat, mkdir, readdir, readFile, realpath, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { DISCOVERY_FILE, LOGS_FOLDER, TOKEN_FILE, TOKEN_PATTERN } from '../contract/discovery';
import { LoftError } from '../contract/errors';
import { createFileAtomically, UNFINISHED } from './atomicFile';
import { fileError, systemCode } from './fileErrors';

/** Raised when what an older gateway reads in a data folder would mislead it. */
const FOLDER_FORMAT = 1;

const hasModes = process.platform !== 'win32';

/** One person's data folder: all that a gateway keeps on disk. Paths are absolute; the folders among them exist. */
export interface DataFolder {
  /** The real path, so that two names of one folder are one. */
  readonly dir: string;
  /** The owner's token, 64 hex characters. */
  readonly token: string;
  readonly tokenFile: string;
  readonly gatewayFile: string;
  readonly postgresFile: string;
  /** Not there until the first start of the embedded Postgres is complete. */
  readonly postgresDir: string;
  readonly lakeDir: string;
  readonly trainingDir: string;
  readonly jobsDir: string;
  readonly tmpDir: string;
  readonly logsDir: string;
  readonly sampleFile: string;
}

/**
 * Creates `dir`, or checks that it is a data folder of ours that nobody else can read. Two processes may do so at once; what
 * only one may do, such as `emptyTmp`, waits for the lock (lock.ts).
 */
export async function openDataFolder(dir: string): Promise<DataFolder> {
  const wanted = resolve(dir);
  try {
    await mkdir(wanted, { recursive: true, mode: 0o700 });
    const real = await realpath(wanted);
    await makePrivate(real);
    await checkFormat(real);
    const folder = {
      dir: real,
      tokenFile: join(real, TOKEN_FILE),
      gatewayFile: join(real, DISCOVERY_FILE),
      postgresFile: join(real, 'postgres.json'),
      postgresDir: join(real, 'postgres'),
      lakeDir: join(real, 'lake'),
      trainingDir: join(real, 'training'),
      jobsDir: join(real, 'jobs'),
      tmpDir: join(real, 'tmp'),
      logsDir: join(real, LOGS_FOLDER),
      sampleFile: join(real, 'sample.json'),
    };
    for (const child of [folder.lakeDir, folder.trainingDir, folder.jobsDir, folder.tmpDir, folder.logsDir]) {
      await ensureFolder(child);
    }
    return { ...folder, token: await ensureToken(folder.tokenFile) };
  } catch (error) {
    throw fileError(error, wanted);
  }
}

/** Not Node's recursive way, which tells a full disk as ENOENT. */
async function ensureFolder(dir: string): Promise<void> {
  try {
    await mkdir(dir, { mode: 0o700 });
  } catch (error) {
    if (systemCode(error) !== 'EEXIST' || !(await stat(dir)).isDirectory()) throw fileError(error, dir);
  }
}

/** Removes what an earlier gateway left in `tmp/`. Only for the holder of the lock. */
export async function emptyTmp(folder: DataFolder): Promise<void> {
  try {
    for (const name of await readdir(folder.tmpDir)) {
      await rm(join(folder.tmpDir, name), { recursive: true, force: true, maxRetries: 3 });
    }
  } catch (error) {
    throw fileError(error, folder.tmpDir);
  }
}

async function makePrivate(dir: string): Promise<void> {
  const found = await stat(dir);
  if (!found.isDirectory()) {
    throw new LoftError(500, 'data_folder_not_a_folder', `${dir} is not a folder. Name a folder with --data.`);
  }
  if (!hasModes) return;
  if (found.uid !== process.getuid?.()) {
    throw new LoftError(
      500,
      'data_folder_of_another',
      `${dir} belongs to the account with id ${found.uid}, and this is ${process.getuid?.()}. Name a folder of your own with --data.`,
    );
  }
  if ((found.mode & 0o077) === 0) return;
  await refuseForeignContent(dir);
  await chmod(dir, 0o700);
  if (((await stat(dir)).mode & 0o077) !== 0) {
    throw new LoftError(
      500,
      'data_folder_exposed',
      `${dir} can be read by other accounts, and its file system does not let that be changed. Name a folder on a local disk with --data.`,
    );
  }
}

/** `--data ~` must not fill a home folder, nor change its mode. */
async function refuseForeignContent(dir: string): Promise<void> {
  const names = await readdir(dir);
  if (names.includes(FORMAT_FILE)) return;
  const foreign = names.filter((name) => !name.startsWith(UNFINISHED) && !ignorable.has(name));
  if (foreign.length === 0) return;
  throw new LoftError(
    500,
    'not_a_data_folder',
    `${dir} holds other files (${foreign.slice(0, 3).join(', ')}${foreign.length > 3 ? ', …' : ''}) and was not made by Feature Loft. Name an empty or a new folder with --data.`,
  );
}

const FORMAT_FILE = 'format.json';
/** A client that starts the first gateway has already made the folder of its log. */
const ignorable = new Set([LOGS_FOLDER, '.DS_Store', 'lost+found']);

async function checkFormat(dir: string): Promise<void> {
  const file = join(dir, FORMAT_FILE);
  await refuseForeignContent(dir);
  await createFileAtomically(file, JSON.stringify({ format: FOLDER_FORMAT }) + '\n');
  const format = formatOf(await readFile(file, 'utf8'));
  if (format === undefined) {
    throw new LoftError(
      500,
      'data_folder_damaged',
      `${file} is not readable as a format number. Restore it from a backup, or name another folder with --data.`,
    );
  }
  if (format > FOLDER_FORMAT) {
    throw new LoftError(
      409,
      'data_folder_newer',
      `${dir} was made by a newer Feature Loft (format ${format}; this one knows ${FOLDER_FORMAT}). Update Feature Loft, or name another folder with --data.`,
    );
  }
}

function formatOf(text: string): number | undefined {
  try {
    const { format } = JSON.parse(text) as { format?: unknown };
    return Number.isSafeInteger(format) && (format as number) > 0 ? (format as number) : undefined;
  } catch {
    return undefined;
  }
}

async function ensureToken(file: string): Promise<string> {
  await createFileAtomically(file, randomBytes(32).toString('hex') + '\n');
  return readPrivateToken(file);
}

async function readPrivateToken(file: string): Promise<string> {
  await demandPrivateFile(file);
  const token = (await readFile(file, 'utf8')).trim();
  if (TOKEN_PATTERN.test(token)) return token;
  throw new LoftError(
    500,
    'token_damaged',
    `${file} does not hold 64 hex digits. Delete it: the next start makes a new token.`,
  );
}

/** A secret that others could read is no secret any more: the words say how to have a new one. */
export async function demandPrivateFile(file: string): Promise<void> {
  const found = await lstat(file);
  if (!found.isFile())
    throw new LoftError(500, 'secret_exposed', `${file} is not a plain file. Remove it and start again.`);
  if (!hasModes) return;
  if (found.uid !== process.getuid?.() || (found.mode & 0o077) !== 0) {
    throw new LoftError(
      500,
      'secret_exposed',
      `${file} can be read by other accounts (mode ${(found.mode & 0o777).toString(8)}, owner ${found.uid}), so they may know what it holds. Delete it: the next start makes a new one.`,
    );
  }
}
