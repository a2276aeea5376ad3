// Where things are in this checkout, and when what was made from its files is still right.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..');
/** What the scripts keep: DuckDB's extensions, stamps, and package caches when the home folder cannot be written. */
export const CACHE = join(ROOT, '.cache');

/** True in the module that `node` was started with. */
export function isMain(moduleUrl) {
  return process.argv[1] !== undefined && pathToFileURL(resolve(process.argv[1])).href === moduleUrl;
}

/** SHA-256 over names and contents of files and folders (relative to the checkout; absent ones count as absent), and `extra`. */
export function hashOf(paths, extra = '') {
  const hash = createHash('sha256').update(extra);
  for (const path of paths) {
    for (const file of filesUnder(path)) hash.update(`\0${file}\0`).update(readFileSync(join(ROOT, file)));
  }
  return hash.digest('hex');
}

function filesUnder(path) {
  const full = join(ROOT, path);
  if (!existsSync(full)) return [];
  if (!statSync(full).isDirectory()) return [path];
  return readdirSync(full)
    .sort()
    .flatMap((name) => filesUnder(join(path, name)));
}

/** The stamp of a finished step: its content names all that went in. A killed step leaves none, so it is done again. */
export function stampIs(file, content) {
  return existsSync(file) && readFileSync(file, 'utf8') === content;
}

export function writeStamp(file, content) {
  mkdirSync(dirname(file), { recursive: true });
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, content);
  renameSync(draft, file);
}
