import { stat } from 'node:fs/promises';
import { systemCode } from '../fileErrors';
import { hashFile } from './hashFile';

export type FileVerdict = 'same' | 'changed' | 'missing' | 'unrecorded';

/** Compares files with recorded hashes. For an incremental check it remembers which it found good, until their size or times change. */
export class HashedFiles {
  private readonly good = new Map<string, string>();

  /** `wanted`: the recorded SHA-256. `bytes` are those that were read. */
  async check(
    path: string,
    wanted: string | undefined,
    incremental: boolean,
  ): Promise<{ verdict: FileVerdict; bytes: number }> {
    try {
      const stamp = await stampOf(path);
      if (wanted === undefined) return { verdict: 'unrecorded', bytes: 0 };
      if (incremental && this.good.get(path) === `${stamp} ${wanted}`) return { verdict: 'same', bytes: 0 };
      const { sha256, bytes } = await hashFile(path);
      if (sha256 !== wanted) return { verdict: 'changed', bytes };
      this.good.set(path, `${stamp} ${wanted}`);
      return { verdict: 'same', bytes };
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return { verdict: 'missing', bytes: 0 };
      throw error;
    }
  }
}

async function stampOf(path: string): Promise<string> {
  const { size, mtimeMs, ctimeMs, ino } = await stat(path);
  return [size, mtimeMs, ctimeMs, ino].join(' ');
}
