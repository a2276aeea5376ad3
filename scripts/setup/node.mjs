// Node and the npm packages of this checkout.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ROOT } from './checkout.mjs';
import { withLock } from './lock.mjs';
import { packageCacheEnvironment } from './packageCaches.mjs';
import { run } from './process.mjs';
import { failureOf, say, SetupError } from './report.mjs';

const NPM_CI_TIMEOUT_MS = 15 * 60_000;
/** npm's own minute makes one wait two minutes to hear that there is no network. */
const RETRY_AFTER_MS = 10_000;

/** For the sample; the tools that test and lint need a newer one. */
const OLDEST = [20, 0];
export const OLDEST_FOR_TESTS = [20, 19];

function isAtLeast([major, minor]) {
  const [ownMajor = 0, ownMinor = 0] = process.versions.node.split('.').map(Number);
  return ownMajor > major || (ownMajor === major && ownMinor >= minor);
}

export function checkNode(oldest = OLDEST) {
  if (isAtLeast(oldest)) return;
  throw new SetupError(
    `This needs Node ${oldest.join('.')} or newer; it was started with Node ${process.versions.node} (${process.execPath}).`,
    'Install a newer Node (https://nodejs.org, or your version manager), then run the same command again.',
  );
}

/** Brings node_modules to what package-lock.json says; says nothing and takes milliseconds when it is. */
export async function installNodeModules() {
  if (missingPackages().length === 0) return;
  await withLock('node_modules', async () => {
    if (missingPackages().length === 0) return;
    say('npm packages: installing (about 260 MB) …');
    const [command, ...args] = npmCommand();
    // No install script runs: none is needed, and npm 10 and 11 then do the same.
    const options = ['--ignore-scripts', '--no-audit', '--no-fund', `--fetch-retry-maxtimeout=${RETRY_AFTER_MS}`];
    const result = await run(command, [...args, 'ci', ...options], {
      cwd: ROOT,
      env: packageCacheEnvironment(),
      timeoutMs: NPM_CI_TIMEOUT_MS,
    });
    if (result.code !== 0) throw failureOf('npm ci', result);
    const missing = missingPackages();
    if (missing.length > 0) {
      throw new SetupError(
        `npm ci ended without an error, but did not install ${missing.length} packages, such as ${missing[0]}.`,
        'See that about 2 GB of disk are free, and that npm is newer than 9.6.4, which knows no binaries for glibc ' +
          '(`npm install --global npm@10`); then run the same command again.',
      );
    }
    say(`npm packages: installed in ${result.seconds.toFixed(0)} s`);
  });
}

/**
 * What of package-lock.json is not in node_modules. npm writes node_modules/.package-lock.json last, so it tells a finished
 * install from a killed one, whoever installed; a finished one can still lack packages: npm ends well without an optional
 * package, such as one with this platform's binaries, when there is no room for it.
 */
function missingPackages() {
  const installedFile = join(ROOT, 'node_modules', '.package-lock.json');
  const wanted = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')).packages;
  const installed = existsSync(installedFile) ? JSON.parse(readFileSync(installedFile, 'utf8')).packages : {};
  return Object.entries(wanted)
    .filter(
      ([path, { optional, ...rest }]) => path !== '' && (!optional || path in installed || isForThisPlatform(rest)),
    )
    .filter(([path, { version }]) => installed[path]?.version !== version || !existsSync(join(ROOT, path)))
    .map(([path]) => path);
}

function isForThisPlatform({ os, cpu, libc, engines }) {
  if (os === undefined && cpu === undefined) return false;
  // npm leaves an optional package out that wants a newer Node: those are tools of the tests and the lint.
  if (engines?.node !== undefined && !isAtLeast(OLDEST_FOR_TESTS)) return false;
  const fits = (wanted, own) => wanted === undefined || wanted.includes(own);
  return fits(os, process.platform) && fits(cpu, process.arch) && (libc === undefined || fits(libc, ownLibc()));
}

function ownLibc() {
  return process.report.getReport().header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
}

/** Under `npm start` the npm that runs us, else the one on the PATH. */
function npmCommand() {
  const own = process.env.npm_execpath;
  if (own !== undefined && /npm-cli\.[cm]?js$/.test(own)) return [process.execPath, own];
  const besideNode = join(dirname(process.execPath), 'node_modules', 'npm', 'bin', 'npm-cli.js');
  return existsSync(besideNode) ? [process.execPath, besideNode] : ['npm'];
}
