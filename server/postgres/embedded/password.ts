import { spawn } from 'node:child_process';
import { binary } from './binaries';
import { USER } from './clusterFile';
import { postgresEnvironment } from './environment';
import type { PostmasterPlan } from './postmaster';
import { openServerLog, startError } from './serverLog';

const SINGLE_USER_TIMEOUT_MS = 300_000;

/** Gives the cluster's owner a new password when the old one was lost with `postgres.json`. No server may be running. */
export async function resetPassword({ folder, binaries, account }: PostmasterPlan, password: string): Promise<void> {
  // What goes into the statement is made of hex digits, by our own schema of the file.
  const statement = `ALTER ROLE ${USER} PASSWORD '${password}';\n`;
  const log = await openServerLog(folder);
  try {
    const { file, args } = account.command(binary(binaries, 'postgres'), [
      '--single',
      '-D',
      folder.postgresDir,
      'postgres',
    ]);
    const ended = await new Promise<string>((done) => {
      const child = spawn(file, args, {
        cwd: folder.dir,
        env: postgresEnvironment(),
        // Its answers repeat the statement.
        stdio: ['pipe', 'ignore', log.handle.fd],
        timeout: SINGLE_USER_TIMEOUT_MS,
        windowsHide: true,
      });
      child.once('error', (error) => done(error.message));
      child.once('exit', (code, signal) => done(code === 0 ? '' : `it ended with ${signal ?? `code ${code}`}`));
      child.stdin?.on('error', () => undefined);
      child.stdin?.end(statement);
    });
    if (ended !== '')
      throw startError(`The embedded Postgres took no new password: ${ended}.`, await log.tail(), log.file);
  } finally {
    await log.handle.close();
  }
}
