import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { LoftError } from '../../contract/errors';
import type { Db } from '../postgres/connect';
import type { LakeLocation, OpenedLake } from './protocol';
import type { WorkerProcess } from './workerProcess';

const IN_USE_MS = 10_000;
const IN_USE_PAUSE_MS = 250;

export type LakeState = { state: 'ok' } | { state: 'opening' | 'away' | 'lake_elsewhere'; detail: string };

interface RecordedLake {
  lake_id: string | null;
  lake_catalog: string | null;
}

/**
 * Whether this gateway may use its lake. A store is one Postgres and one lake: the registry records the lake's id when the
 * first is made, and a gateway that can't open that one serves everything but offline routes, and never drains.
 */
export class LakeAccess {
  private current: LakeState = { state: 'opening', detail: 'The lake is being opened.' };
  private opening: Promise<void> | undefined;
  private opened: OpenedLake | undefined;

  constructor(
    private readonly db: Db,
    private readonly worker: WorkerProcess,
    private readonly location: LakeLocation,
  ) {}

  get state(): LakeState {
    return this.current;
  }

  get engine(): string {
    return this.opened?.engine ?? 'DuckDB';
  }

  /** Returns when the lake is open. Throws LoftError 409 `lake_elsewhere`, or what keeps it from being opened. */
  async requireLake(): Promise<void> {
    if (this.current.state === 'ok') return;
    this.opening ??= this.open().finally(() => (this.opening = undefined));
    await this.opening;
  }

  private async open(): Promise<void> {
    try {
      const recorded = await this.recorded();
      await (recorded.lake_id === null ? this.makeOrAdopt() : this.openRecorded(recorded));
      this.worker.rememberLake();
      this.current = { state: 'ok' };
    } catch (error) {
      const isElsewhere = error instanceof LoftError && error.code === 'lake_elsewhere';
      const detail =
        error instanceof LoftError ? error.detail : 'The lake could not be opened; logs/worker.log says why.';
      this.current = { state: isElsewhere ? 'lake_elsewhere' : 'away', detail };
      // A lake of another store must not stay locked by us.
      if (isElsewhere) await this.worker.kill('its lake belongs to another store');
      if (error instanceof LoftError && error.status !== 500) throw error;
      throw new LoftError(503, 'offline_store_away', detail, { retryAfterSeconds: 10, cause: error });
    }
  }

  private async recorded(): Promise<RecordedLake> {
    const { rows } = await this.db.query<RecordedLake & Record<string, unknown>>(
      'SELECT lake_id, lake_catalog FROM registry.head',
    );
    return rows[0] ?? { lake_id: null, lake_catalog: null };
  }

  /** The store has no lake yet. One that stands here is taken if nothing is in it: a first start may have been cut short. */
  private async makeOrAdopt(): Promise<void> {
    this.opened = await this.openFree(true, randomUUID());
    if (!this.opened.unused) {
      throw elsewhere(
        `The lake at ${this.location.catalog} holds rows of another store (this Postgres has no lake yet). Start with the data folder's own Postgres, or with another data folder.`,
      );
    }
    const { rowCount } = await this.db.query(
      'UPDATE registry.head SET lake_id = $1, lake_catalog = $2, lake_data_path = $3 WHERE lake_id IS NULL',
      [this.opened.lakeId, this.location.catalog, this.location.dataPath],
    );
    if (rowCount === 1) return;
    // Another gateway was first.
    const recorded = await this.recorded();
    if (recorded.lake_id !== this.opened.lakeId) throw this.belongsTo(recorded);
  }

  private async openRecorded(recorded: RecordedLake): Promise<void> {
    try {
      this.opened = await this.openFree(false, '');
    } catch (error) {
      if (error instanceof LoftError && error.code === 'lake_missing') throw this.belongsTo(recorded);
      throw error;
    }
    if (this.opened.lakeId !== recorded.lake_id) throw this.belongsTo(recorded);
    // The folder may have been moved.
    await this.db.query(
      'UPDATE registry.head SET lake_catalog = $2, lake_data_path = $3 WHERE lake_id = $1 AND lake_catalog IS DISTINCT FROM $2',
      [recorded.lake_id, this.location.catalog, this.location.dataPath],
    );
  }

  /** The worker of a gateway that was killed needs a moment to let go of the catalog. */
  private async openFree(create: boolean, newLakeId: string): Promise<OpenedLake> {
    for (const end = performance.now() + IN_USE_MS; ; await delay(IN_USE_PAUSE_MS)) {
      try {
        return await this.worker.openLake(create, newLakeId);
      } catch (error) {
        const isInUse = error instanceof LoftError && error.code === 'lake_in_use';
        if (!isInUse || performance.now() > end) throw error;
      }
    }
  }

  private belongsTo(recorded: RecordedLake): LoftError {
    return elsewhere(
      `This store's lake is ${recorded.lake_catalog ?? 'elsewhere'} (id ${recorded.lake_id}), and this gateway can't open it there. Use the gateway that has it, or start this one with the data folder that holds it.`,
    );
  }
}

function elsewhere(detail: string): LoftError {
  return new LoftError(409, 'lake_elsewhere', detail);
}
