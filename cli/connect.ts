import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ensureGateway, proves } from '../client/discovery';
import { GatewayClient } from '../client/gatewayClient';
import { LoftError } from '../contract/errors';
import type { Output } from './output';

/** The gateway named by FEATURELOFT_URL and FEATURELOFT_TOKEN, else the data folder's, which is started if need be. */
export async function connect(dataDir: string, out: Output): Promise<GatewayClient> {
  const url = process.env['FEATURELOFT_URL'];
  if (url) {
    const token = process.env['FEATURELOFT_TOKEN'];
    if (!token) throw new LoftError(401, 'no_token', 'FEATURELOFT_URL is set, but FEATURELOFT_TOKEN is not.');
    if (!(await proves(url, token))) {
      throw new LoftError(
        503,
        'gateway_unproven',
        `No gateway at ${url} proved that it holds FEATURELOFT_TOKEN, so the token was not sent. See that it runs, and check both.`,
      );
    }
    return new GatewayClient({ url, token });
  }
  let started = false;
  const gateway = await ensureGateway({
    dir: dataDir,
    gatewayPath: gatewayPath(),
    onProgress: (line) => {
      started = true;
      if (!line.startsWith('{')) out.progress(line);
    },
  });
  if (started) out.note(`Started a gateway (process ${gateway.pid}); \`featureloft stop\` ends it.`);
  return new GatewayClient(gateway);
}

/** The bundle beside this one; from the sources, the one that the last build made. */
export function gatewayPath(): string {
  const beside = join(__dirname, 'gateway.js');
  return existsSync(beside) ? beside : join(__dirname, '..', 'dist', 'gateway.js');
}
