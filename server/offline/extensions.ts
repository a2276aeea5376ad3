// Where DuckDB's extensions are: packaging puts them beside the bundle, `npm run setup` into the checkout's cache.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Equal to the version of @duckdb/node-api: an extension of another version is refused by DuckDB. */
const DUCKDB_VERSION = '1.5.5';

/**
 * The path of a DuckDB extension for `LOAD`. Looks into the folder FEATURELOFT_EXTENSIONS when it is set, else into
 * `extensions/` and `.cache/duckdb-extensions/` beside our package.json; throws an Error naming the places and the way out.
 */
export function findExtension(name: string): string {
  const places = placesOf(name);
  const found = places.find((place) => existsSync(place));
  if (found !== undefined) return found;
  throw new Error(
    `DuckDB's extension ${name} for ${duckDbPlatform()} is in none of: ${places.join(', ')}. ` +
      'In a checkout, `npm run setup` fetches it; elsewhere, set FEATURELOFT_EXTENSIONS to the folder that holds it.',
  );
}

/** Where set-up, which may still be under way, will have put an extension that is not there yet. */
export function awaitedExtension(name: string): string {
  return placesOf(name).at(-1) ?? '';
}

function placesOf(name: string): string[] {
  const file = `${name}.duckdb_extension`;
  const inVersion = join(`v${DUCKDB_VERSION}`, duckDbPlatform(), file);
  const folder = process.env['FEATURELOFT_EXTENSIONS'];
  const root = packageRoot(__dirname);
  return folder
    ? [join(folder, file), join(folder, inVersion)]
    : [join(root, 'extensions', file), join(root, '.cache', 'duckdb-extensions', inVersion)];
}

/** The nearest folder above with a package.json: both from dist/ and from the sources that is where the package begins. */
function packageRoot(folder: string): string {
  const parent = dirname(folder);
  return parent === folder || existsSync(join(folder, 'package.json')) ? folder : packageRoot(parent);
}

/** DuckDB's name of this platform, as `PRAGMA platform` gives it. */
function duckDbPlatform(): string {
  const systems: Partial<Record<NodeJS.Platform, string>> = { linux: 'linux', darwin: 'osx', win32: 'windows' };
  const machines: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', arm64: 'arm64' };
  return `${systems[process.platform] ?? process.platform}_${machines[process.arch] ?? process.arch}`;
}
