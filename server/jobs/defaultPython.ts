// Which Python runs training jobs when nobody names one.
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/**
 * In a checkout the environment that its set-up makes, which has what training needs: also before it is made, for set-up may be
 * under way. Elsewhere the one on the PATH. `root` is the folder above the bundle.
 */
export function defaultPython(root = join(__dirname, '..'), platform = process.platform): string {
  const isWindows = platform === 'win32';
  if (existsSync(join(root, 'scripts', 'setup', 'python.mjs')))
    return join(root, '.venv', ...(isWindows ? ['Scripts', 'python.exe'] : ['bin', 'python']));
  return isWindows ? 'python' : 'python3';
}
