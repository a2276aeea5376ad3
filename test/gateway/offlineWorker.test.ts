import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LoftError } from '../../contract/errors';
import { printJson } from '../../contract/json';
import { findExtension } from '../../server/offline/extensions';
import { WorkerProcess } from '../../server/offline/workerProcess';
import { readJsonRows } from '../../server/online/decode/jsonRows';
import { writeRows } from '../../server/online/write';
import { publish } from '../../server/registry/publish';
import { openLake, openTestStore, scratchFolder, silentLog, textBody, WORKER } from './support/offline';

async function gone(pid: number): Promise<void> {
  for (const end = Date.now() + 10_000; Date.now() < end; await delay(50)) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
  }
  assert.fail(`process ${pid} is still there`);
}

describe('offline worker process', function () {
  this.timeout(60_000);

  function worker(dir: string, recycleBytes?: number): WorkerProcess {
    return new WorkerProcess({
      ...WORKER,
      log: silentLog,
      open: {
        dataDir: dir,
        extension: findExtension('ducklake'),
        memoryLimit: '500MB',
        threads: 1,
        lake: { catalog: join(dir, 'lake', 'catalog.ducklake'), dataPath: join(dir, 'lake', 'data') },
        create: true,
        newLakeId: 'the lake',
      },
      ...(recycleBytes === undefined ? {} : { recycleBytes }),
    });
  }

  it('opens the lake once the extension is there that set-up was still fetching', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'loft-extension-'));
    const extension = join(folder, 'ducklake.duckdb_extension');
    const on = await openTestStore({ extension });
    try {
      const upload = (): Promise<unknown> =>
        on.store.uploadDataset('late', textBody('a\n1\n'), { mode: 'replace', format: 'csv' });
      await assert.rejects(upload, (error: unknown) => {
        assert.ok(error instanceof LoftError);
        assert.equal(error.code, 'extension_missing');
        assert.match(error.detail, /npm run setup/);
        return true;
      });
      await copyFile(findExtension('ducklake'), extension);
      await upload();
    } finally {
      await on.close();
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('fails what it was doing with 503 when it dies, and starts again for the next request', async () => {
    const on = await openTestStore();
    try {
      await on.store.start();
      await on.store.uploadDataset('kept', textBody('a\n1\n'), { mode: 'replace', format: 'csv' });
      const rows = `a\n${'12345\n'.repeat(2_000_000)}`;
      const upload = on.store.uploadDataset('large', textBody(rows), { mode: 'replace', format: 'csv' });
      await delay(600);
      const pid = on.store.workerPid ?? 0;
      process.kill(pid, 'SIGKILL');
      await assert.rejects(upload, { status: 503, code: 'offline_worker_died' });
      await assert.rejects(on.store.datasetVersion('large'), { code: 'unknown_dataset' });
      assert.equal((await on.store.dataset('kept')).rows, 1);
      assert.notEqual(on.store.workerPid, pid);
      const again = await on.store.uploadDataset('large', textBody('a\n1\n'), { mode: 'replace', format: 'csv' });
      assert.deepEqual([again.version, again.rows], [1, 1]);
    } finally {
      await on.close();
    }
  });

  it('is replaced once idle when it has grown too large', async () => {
    const folder = await scratchFolder();
    const process = worker(folder.dir, 1);
    try {
      assert.equal((await process.openLake(true, 'the lake')).lakeId, 'the lake');
      process.rememberLake();
      for (let turn = 0; turn < 3; turn++) {
        assert.equal((await process.call('verifyLake', { incremental: false })).checked, 1);
      }
      assert.ok(process.starts >= 3, `started ${process.starts} times`);
    } finally {
      await process.close();
      await folder.remove();
    }
  });

  it('says that a lake is not there instead of making one', async () => {
    const folder = await scratchFolder();
    const process = worker(folder.dir);
    try {
      await assert.rejects(process.openLake(false, ''), { status: 409, code: 'lake_missing' });
    } finally {
      await process.close();
      await folder.remove();
    }
  });

  it('says that another process has the lake open', async () => {
    const folder = await scratchFolder();
    const [first, second] = [worker(folder.dir), worker(folder.dir)];
    try {
      await first.openLake(true, 'the lake');
      await assert.rejects(second.openLake(true, 'another'), { status: 409, code: 'lake_in_use' });
    } finally {
      await first.close();
      await second.close();
      await folder.remove();
    }
  });

  it('answers a request that needs more than its memory limit with the way out, and lives on', async () => {
    const on = await openTestStore({ memoryLimit: '80MB' });
    try {
      await on.store.start();
      const wide = Array.from({ length: 60 }, (_, n) => `c${n}`);
      const lines = Array.from({ length: 60_000 }, (_, row) => wide.map((_, n) => `${row}.${n}text`).join(','));
      const body = `${wide.join(',')}\n${lines.join('\n')}\n`;
      const outcome = await on.store.uploadDataset('wide', textBody(body), { mode: 'replace', format: 'csv' }).then(
        () => 'stored',
        (error: { code: string }) => error.code,
      );
      assert.match(outcome, /^(stored|offline_out_of_memory)$/);
      assert.equal(
        (await on.store.uploadDataset('small', textBody('a\n1\n'), { mode: 'replace', format: 'csv' })).rows,
        1,
      );
    } finally {
      await on.close();
    }
  });
});

describe('a gateway that is killed while it drains', function () {
  this.timeout(120_000);

  it('leaves no worker behind, and the next one brings every row once', async () => {
    const on = await openTestStore();
    const children: ChildProcess[] = [];
    try {
      const definitions = {
        entities: [{ name: 'airport', keys: { origin: 'string' } }],
        views: [{ name: 'wind', entity: 'airport', features: { speed: 'int64' } }],
      };
      await publish(on.database.db, { definitions }, 'test');
      await on.registry.reload();
      await mkdir(on.folder.tmpDir, { recursive: true });
      let sent = 0;
      const push = async (): Promise<void> => {
        const row = { origin: `A${sent}`, event_timestamp: '2024-01-01T00:00:00Z', speed: sent++ };
        const body = readJsonRows(printJson({ rows: [row] }));
        assert.equal(body.kind, 'rows');
        const context = { db: on.database.db, registry: on.registry, gateway: 'test' };
        await writeRows(context, { view: 'wind', rows: body.source, onError: 'reject' });
      };
      const program = join(__dirname, 'support', 'programs', 'drain.ts');
      for (const wait of [0, 120, 400, 900]) {
        for (let n = 0; n < 5; n++) await push();
        const child = spawn(
          process.execPath,
          ['--import', 'tsx', program, on.folder.dir, JSON.stringify(on.database.connection), `killed ${wait}`],
          { stdio: ['ignore', 'pipe', 'inherit'] },
        );
        children.push(child);
        const [printed] = (await once(child.stdout ?? child, 'data')) as [Buffer];
        await push();
        await delay(wait);
        child.kill('SIGKILL');
        await gone(Number(printed.toString()));
      }
      await on.store.start();
      await on.store.drainAnswered();
      await on.store.stop();
      const lake = await openLake(on.folder.dir);
      const [found] = await lake.read((session) =>
        session.rows(
          'SELECT count(*)::INTEGER AS rows, count(DISTINCT speed)::INTEGER AS speeds FROM lake.main.wind_v1',
        ),
      );
      await lake.close();
      assert.deepEqual(found, { rows: sent, speeds: sent });
    } finally {
      for (const child of children) child.kill('SIGKILL');
      await on.close();
    }
  });
});
