// Where npm and pip keep what they downloaded.
import { accessSync, constants, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { CACHE } from './checkout.mjs';

/** Package caches stay in the home folder; where that cannot be written (or there is none), they go into this checkout. */
export function packageCacheEnvironment() {
  const home = homedir();
  const npmCache = process.env.npm_config_cache ?? join(home, '.npm');
  const pipCache = process.env.PIP_CACHE_DIR ?? join(home, '.cache', 'pip');
  return {
    ...(canBeWritten(npmCache) ? {} : { npm_config_cache: join(CACHE, 'npm') }),
    ...(canBeWritten(pipCache) ? {} : { PIP_CACHE_DIR: join(CACHE, 'pip') }),
  };
}

function canBeWritten(folder) {
  if (!isAbsolute(folder)) return false;
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
