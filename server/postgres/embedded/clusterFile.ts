import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { LoftError } from '../../../contract/errors';
import { writeFileAtomically } from '../../atomicFile';
import { demandPrivateFile } from '../../dataFolder';
import { systemCode } from '../../fileErrors';

export const USER = 'featureloft';
export const DATABASE = 'featureloft';
export const HOST = '127.0.0.1';

/** How the embedded Postgres is reached, also by a person with another tool, and what it was last started as. */
const ClusterFile = z.object({
  host: z.literal(HOST),
  port: z.int().min(0).max(65_535),
  user: z.literal(USER),
  password: z.string().regex(/^[0-9a-f]{64}$/),
  database: z.literal(DATABASE),
  /** A hash of binaries and settings; a running server with others is started anew. */
  startedAs: z.string(),
  /** Where it was last started (machine.ts). */
  machine: z.object({ name: z.string(), boot: z.string() }).optional(),
});
export type ClusterFile = z.infer<typeof ClusterFile>;

export function newClusterFile(): ClusterFile {
  return {
    host: HOST,
    port: 0,
    user: USER,
    password: randomBytes(32).toString('hex'),
    database: DATABASE,
    startedAs: '',
  };
}

/** `undefined` when there is none, or it is damaged: a new password is then set (password.ts). */
export async function readClusterFile(file: string): Promise<ClusterFile | undefined> {
  try {
    await demandPrivateFile(file);
    return ClusterFile.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    if (error instanceof LoftError) throw error;
    if (systemCode(error) === 'ENOENT' || error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}

export async function writeClusterFile(file: string, content: ClusterFile): Promise<void> {
  await writeFileAtomically(file, JSON.stringify(content, undefined, 2) + '\n');
}
