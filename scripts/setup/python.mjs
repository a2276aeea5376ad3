// Finds a Python, and makes the virtual environment that the sample, the notebook and the Python tests run in.
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { hashOf, ROOT, stampIs, writeStamp } from './checkout.mjs';
import { withLock } from './lock.mjs';
import { packageCacheEnvironment } from './packageCaches.mjs';
import { run } from './process.mjs';
import { failureOf, say, SetupError } from './report.mjs';

const OLDEST = [3, 11];
const CANDIDATES = ['python3.13', 'python3.12', 'python3.11', 'python3', 'python'];
const PROBE_TIMEOUT_MS = 15_000;
const INSTALL_TIMEOUT_MS = 20 * 60_000;
const PROBE = `import importlib.util as u, json, sys
has = lambda name: u.find_spec(name) is not None
print(json.dumps([sys.executable, list(sys.version_info[:3]), has('venv') and has('ensurepip'), has('venv') and has('pip')]))`;

const VENV = join(ROOT, '.venv');
export const VENV_PYTHON = join(
  VENV,
  ...(process.platform === 'win32' ? ['Scripts', 'python.exe'] : ['bin', 'python']),
);
const STAMP = join(VENV, 'featureloft-setup');
const INPUTS = ['python/requirements-dev.txt', 'python/constraints-dev.txt', 'python/pyproject.toml'];

/** Says at once, before minutes of installing, when there is no Python that will do. */
export function checkPython() {
  if (!isInstalled()) findPython();
}

/** Makes .venv unless it is there, whole, and of today's requirements. */
export async function installPython() {
  if (isInstalled()) return;
  await withLock('python', async () => {
    if (isInstalled()) return;
    const started = Date.now();
    // A whole environment of older requirements is brought up to date, one that a kill left half done is made anew.
    const isWhole = existsSync(VENV_PYTHON) && existsSync(STAMP);
    say(`Python packages: ${isWhole ? 'bringing up to date' : 'installing (about 1 GB)'} …`);
    rmSync(isWhole ? STAMP : VENV, { recursive: true, force: true });
    if (!isWhole) await makeEnvironment(findPython());
    // `python -m pip`, not `pip`: the first line of a script cannot name a path with a space.
    const pip = ['-m', 'pip', '--disable-pip-version-check', '--no-input', 'install', '--quiet'];
    await must('pip install', VENV_PYTHON, [...pip, '-r', join(ROOT, 'python', 'requirements-dev.txt')]);
    if (existsSync(join(ROOT, 'python', 'pyproject.toml'))) {
      const editable = ['--no-deps', '--no-build-isolation', '--editable', join(ROOT, 'python')];
      await must('Installing the featureloft package', VENV_PYTHON, [...pip, ...editable]);
    }
    writeStamp(STAMP, requirements());
    say(`Python packages: ready in ${Math.round((Date.now() - started) / 1000)} s`);
  });
}

function isInstalled() {
  return existsSync(VENV_PYTHON) && stampIs(STAMP, requirements());
}

/** The editable install of python/ names this checkout's path, so a moved or copied environment is not up to date. */
function requirements() {
  return hashOf(INPUTS, ROOT);
}

async function makeEnvironment(python) {
  if (python.hasEnsurepip) {
    await must('Making the virtual environment', python.path, ['-m', 'venv', VENV]);
  } else {
    await must('Making the virtual environment', python.path, ['-m', 'venv', '--without-pip', VENV]);
    await must('Installing pip', python.path, ['-m', 'pip', '--python', VENV_PYTHON, 'install', '--quiet', 'pip']);
  }
}

async function must(what, command, args) {
  const result = await run(command, args, { cwd: ROOT, env: packageCacheEnvironment(), timeoutMs: INSTALL_TIMEOUT_MS });
  if (result.code !== 0) throw failureOf(what, result);
}

/**
 * The first Python that is new enough and can make a virtual environment with pip in it: with its own ensurepip, else by
 * its pip (Debian splits ensurepip off into a package of its own). FEATURELOFT_PYTHON, when set, is the only candidate.
 */
function findPython() {
  const asked = process.env.FEATURELOFT_PYTHON;
  const found = (asked ? [asked] : CANDIDATES).map(probe).filter((python) => python !== undefined);
  const recent = found.filter((python) => python.isRecent);
  const usable = recent.find((python) => python.hasEnsurepip) ?? recent.find((python) => python.hasPip);
  if (usable !== undefined) return usable;
  if (recent.length > 0) throw venvIsMissing(recent[0]);
  const needed = `Feature Loft needs Python ${OLDEST.join('.')} or newer`;
  if (asked) {
    const what = found.length > 0 ? `is Python ${found[0].version}` : 'is no Python that runs';
    throw new SetupError(
      `${needed}; FEATURELOFT_PYTHON=${asked} ${what}.`,
      'Set FEATURELOFT_PYTHON to a newer one, or unset it.',
    );
  }
  const others = [...new Set(found.map((python) => `Python ${python.version} (${python.path})`))].join(', ');
  throw new SetupError(
    `${needed}; ${others ? `found only ${others}` : `found none of ${CANDIDATES.join(', ')}`}.`,
    `Install one (${installHint('python3 python3-venv')}), or set FEATURELOFT_PYTHON to the path of one.`,
  );
}

function venvIsMissing({ path, version }) {
  const [major, minor] = version.split('.');
  return new SetupError(
    `Python ${version} (${path}) cannot make virtual environments: its venv or ensurepip module is missing.`,
    `Install it (${installHint(`python${major}.${minor}-venv`)}), or set FEATURELOFT_PYTHON to another Python.`,
  );
}

function installHint(debianPackages) {
  if (process.platform === 'darwin') return 'brew install python@3.13';
  if (process.platform === 'win32') return 'winget install Python.Python.3.13';
  return existsSync('/etc/debian_version')
    ? `apt-get install ${debianPackages}`
    : `${debianPackages} from your distribution's packages`;
}

function probe(command) {
  const { status, stdout } = spawnSync(command, ['-c', PROBE], { encoding: 'utf8', timeout: PROBE_TIMEOUT_MS });
  if (status !== 0) return undefined;
  const [path, version, hasEnsurepip, hasPip] = JSON.parse(stdout);
  const isRecent = version[0] > OLDEST[0] || (version[0] === OLDEST[0] && version[1] >= OLDEST[1]);
  return { path, version: version.join('.'), isRecent, hasEnsurepip, hasPip };
}
