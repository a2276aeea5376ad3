import { createHmac } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { Discovery } from '../contract/discovery';
import { writeFileAtomically } from './atomicFile';
import type { DataFolder } from './dataFolder';
import { fileError, systemCode } from './fileErrors';

/** Lets other windows, notebooks and the command line find this gateway. Only for the holder of the lock, once it answers. */
export async function writeDiscovery(folder: DataFolder, discovery: Discovery): Promise<void> {
  try {
    await writeFileAtomically(folder.gatewayFile, JSON.stringify(discovery) + '\n');
  } catch (error) {
    throw fileError(error, folder.gatewayFile);
  }
}

/** What the gateway of this folder wrote. `undefined` while there is none, or nothing that makes sense. */
export async function readOwnDiscovery(folder: DataFolder): Promise<Discovery | undefined> {
  let text: string;
  try {
    text = await readFile(folder.gatewayFile, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw fileError(error, folder.gatewayFile);
  }
  try {
    return Discovery.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** For an orderly end. Does nothing when another gateway has taken the file over. */
export async function removeDiscovery(folder: DataFolder, pid: number): Promise<void> {
  if ((await readOwnDiscovery(folder))?.pid === pid) await rm(folder.gatewayFile, { force: true });
}

/** What a gateway answers to a challenge: lower-case hex that only a holder of the token can know. */
export function proofOf(token: string, challenge: string): string {
  return createHmac('sha256', token).update(challenge).digest('hex');
}
