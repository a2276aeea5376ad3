// Brings DuckDB's extensions into this checkout: from DuckDB's own server, else as the signed file that a PyPI package carries.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CACHE, ROOT, stampIs, writeStamp } from './checkout.mjs';
import { withLock } from './lock.mjs';
import { packageCacheEnvironment } from './packageCaches.mjs';
import { run } from './process.mjs';
import { VENV_PYTHON } from './python.mjs';
import { failureOf, say, SetupError } from './report.mjs';

const EXTENSIONS = ['ducklake'];
/** Of the files for DuckDB 1.5.5. On a platform that is not named here, DuckDB's own check of the signature decides. */
const SHA256 = {
  'ducklake linux_amd64': 'e51bf9e8d933d0e83780ae096455501b542cf962569a2ce5613532d702c08302',
};
const INSTALL_TIMEOUT_MS = 60_000;
const DOWNLOAD_TIMEOUT_MS = 10 * 60_000;
const LOADER = join(dirname(fileURLToPath(import.meta.url)), 'duckdbExtension.mjs');

export async function installExtensions() {
  for (const name of EXTENSIONS) await installExtension(name);
}

async function installExtension(name) {
  const { version, platform } = engine();
  const file = join(CACHE, 'duckdb-extensions', `v${version}`, platform, `${name}.duckdb_extension`);
  // The stamp holds the hash of the file that DuckDB has loaded, so a damaged file is found without loading it.
  const isDone = () => existsSync(file) && stampIs(`${file}.sha256`, sha256(file));
  if (isDone()) return;
  await withLock(`duckdb-${name}`, async () => {
    if (isDone()) return;
    say(`DuckDB extension ${name}: fetching …`);
    // Of one name, so that what a killed fetch left is removed by the next one.
    const scratch = join(dirname(file), `fetching-${name}`);
    rmSync(scratch, { recursive: true, force: true });
    mkdirSync(scratch, { recursive: true });
    try {
      const pinned = SHA256[`${name} ${platform}`];
      const fetched =
        (await fromDuckDb(name, version, platform, pinned, scratch)) ??
        (await fromPyPi(name, version, pinned, scratch));
      await mustLoad(name, fetched);
      renameSync(fetched, file);
      writeStamp(`${file}.sha256`, sha256(file));
      const trust = pinned
        ? 'its SHA-256 is the pinned one'
        : `no SHA-256 is pinned for ${platform}, DuckDB accepted its signature`;
      say(`DuckDB extension ${name}: ready (${trust})`);
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  });
}

/** DuckDB's server may hold a newer build for the same DuckDB than the pinned one: that is not taken. */
async function fromDuckDb(name, version, platform, pinned, scratch) {
  const result = await run(process.execPath, [LOADER, 'install', name, scratch], {
    cwd: ROOT,
    timeoutMs: INSTALL_TIMEOUT_MS,
  });
  const file = join(scratch, `v${version}`, platform, `${name}.duckdb_extension`);
  return result.code === 0 && existsSync(file) && (!pinned || sha256(file) === pinned) ? file : undefined;
}

async function fromPyPi(name, version, pinned, scratch) {
  const distribution = `duckdb-extension-${name.replaceAll('_', '-')}`;
  const wheels = join(scratch, 'wheels');
  const options = [
    '--disable-pip-version-check',
    '--no-input',
    'download',
    '--quiet',
    '--no-deps',
    '--only-binary',
    ':all:',
  ];
  await must(`Fetching ${distribution}`, ['-m', 'pip', ...options, '--dest', wheels, `${distribution}==${version}`]);
  const wheel = readdirSync(wheels).find((entry) => entry.endsWith('.whl'));
  await must(`Unpacking ${wheel}`, ['-m', 'zipfile', '-e', join(wheels, wheel), wheels]);
  const folder = join(wheels, distribution.replaceAll('-', '_'), 'extensions', `v${version}`);
  const file = join(folder, `${name}.duckdb_extension`);
  if (pinned && sha256(file) !== pinned) {
    throw new SetupError(
      `The file of ${distribution} ${version} is not the one that was pinned: SHA-256 ${sha256(file)}, expected ${pinned}.`,
      'Do not use it. Run `npm run setup` again; if the file stays another one, report it as an issue.',
    );
  }
  return file;
}

async function must(what, args) {
  const result = await run(VENV_PYTHON, args, {
    cwd: ROOT,
    env: packageCacheEnvironment(),
    timeoutMs: DOWNLOAD_TIMEOUT_MS,
  });
  if (result.code !== 0) throw failureOf(what, result);
}

/** Loading verifies the signature: DuckDB refuses a file that is not signed by its makers, or is for another DuckDB. */
async function mustLoad(name, file) {
  const result = await run(process.execPath, [LOADER, 'load', file], { cwd: ROOT, timeoutMs: INSTALL_TIMEOUT_MS });
  if (result.code !== 0) throw failureOf(`Loading the DuckDB extension ${name}`, result);
}

/** DuckDB's version and platform, from the npm package that brings it. */
function engine() {
  const packageFile = join(ROOT, 'node_modules', '@duckdb', 'node-api', 'package.json');
  const version = JSON.parse(readFileSync(packageFile, 'utf8')).version.replace(/-.*/, '');
  const systems = { linux: 'linux', darwin: 'osx', win32: 'windows' };
  const machines = { x64: 'amd64', arm64: 'arm64' };
  return { version, platform: `${systems[process.platform]}_${machines[process.arch]}` };
}

function sha256(file) {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}
