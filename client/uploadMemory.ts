import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';

const Remembered = z.object({
  /** Dataset → the file last uploaded to it, by its hash, and the version that it became. */
  uploads: z.record(z.string(), z.object({ fileSha256: z.string(), version: z.int(), sha256: z.string() })),
  /** `view@v1` → the dataset version last loaded into it. */
  loads: z.record(z.string(), z.object({ dataset: z.string(), version: z.int(), sha256: z.string() })),
});
type Remembered = z.infer<typeof Remembered>;

/**
 * What this machine has uploaded and loaded, in `uploads.json` of the data folder, so that publishing a file again makes no new
 * version of its dataset. It is only a hint: each entry is compared with what the gateway says before it is believed, and
 * without the file everything is uploaded once more.
 */
export class UploadMemory {
  private remembered: Remembered | undefined;

  constructor(private readonly file: string) {}

  async upload(dataset: string): Promise<Remembered['uploads'][string] | undefined> {
    return (await this.read()).uploads[dataset];
  }

  async load(view: string): Promise<Remembered['loads'][string] | undefined> {
    return (await this.read()).loads[view];
  }

  async rememberUpload(dataset: string, upload: Remembered['uploads'][string]): Promise<void> {
    (await this.read()).uploads[dataset] = upload;
    await this.write();
  }

  async rememberLoad(view: string, load: Remembered['loads'][string]): Promise<void> {
    (await this.read()).loads[view] = load;
    await this.write();
  }

  private async read(): Promise<Remembered> {
    if (this.remembered) return this.remembered;
    try {
      this.remembered = Remembered.parse(JSON.parse(await readFile(this.file, 'utf8')));
    } catch {
      this.remembered = { uploads: {}, loads: {} };
    }
    return this.remembered;
  }

  private async write(): Promise<void> {
    const part = `${this.file}.${process.pid}`;
    try {
      await writeFile(part, JSON.stringify(this.remembered) + '\n', { mode: 0o600 });
      await rename(part, this.file);
    } catch (error) {
      // The client of a gateway elsewhere has no data folder; then nothing is remembered.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}

export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
