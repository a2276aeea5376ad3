import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CHALLENGE_HEADER, PROOF_HEADER } from '../../../../contract/discovery';
import { openDataFolder } from '../../../../server/dataFolder';
import { proofOf, readOwnDiscovery, removeDiscovery, writeDiscovery } from '../../../../server/discoveryFile';
import { acquireLock } from '../../../../server/lock';

// `smallGateway serve --data DIR [BEHAVIOUR]`: what a finder sees of a gateway, and nothing behind it. Each request's headers
// go to standard error. Behaviours: `wrong-proof`, `no-proof`, `silent`, `broken` (ends at once), `slow` (ready after a second).
async function main([, , dir = '', behaviour = 'right']: string[]): Promise<void> {
  if (behaviour === 'broken') {
    console.error('The lake cannot be opened.');
    process.exit(1);
  }
  const folder = await openDataFolder(dir);
  const lock = await acquireLock(folder.dir);
  if (!lock) {
    const discovery = await readOwnDiscovery(folder);
    console.log(JSON.stringify(discovery));
    return;
  }
  const server = createServer((request, response) => {
    console.error(JSON.stringify(request.headers));
    if (behaviour === 'silent') return;
    const challenge = String(request.headers[CHALLENGE_HEADER]);
    const token = behaviour === 'wrong-proof' ? '0'.repeat(64) : folder.token;
    if (behaviour !== 'no-proof') response.setHeader(PROOF_HEADER, proofOf(token, challenge));
    response.end('{"status":"ready"}');
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  if (behaviour === 'slow') {
    console.error('Setting up Postgres.');
    await new Promise((done) => setTimeout(done, 1_000));
  }
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const line = { url, tokenFile: folder.tokenFile, pid: process.pid, version: '0.1.0' };
  await writeDiscovery(folder, { ...line, startedAt: new Date().toISOString() });
  console.log(JSON.stringify(line));
  process.once('SIGTERM', () => {
    void removeDiscovery(folder, process.pid).then(() => process.exit(0));
  });
}

void main(process.argv.slice(2));
