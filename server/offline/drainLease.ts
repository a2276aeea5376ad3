import type { Db } from '../postgres/connect';

/** How long a lease stands without renewal. */
const LEASE_MS = 15_000;
const RENEW_MS = 5_000;
/** So long before our own clock says that the lease ends, writing stops: the database's clock may run faster. */
const MARGIN_MS = 3_000;

export interface LeaseHolder {
  holder: string | null;
  url: string | null;
  /** False when it has expired. */
  standing: boolean;
}

/**
 * The right to write to the lake: one row of Postgres with holder, epoch and expiry. Each taking raises the epoch, which every
 * lake transaction records too, so that a stale holder conflicts there and is refused here.
 */
export class DrainLease {
  private taking: Promise<number | undefined> | undefined;
  private held: { epoch: number; renew: NodeJS.Timeout; lost: NodeJS.Timeout } | undefined;

  /**
   * `onLost` is called before the lease can have expired unrenewed, or when another has taken it: whoever is writing must be
   * stopped at once.
   */
  constructor(
    private readonly db: Db,
    private readonly holder: string,
    private readonly url: () => string | null,
    private readonly onLost: () => void,
  ) {}

  /** The epoch we write with; undefined while we don't hold the lease. */
  get epoch(): number | undefined {
    return this.held?.epoch;
  }

  /**
   * Takes the lease unless another holds it, and keeps it renewed. `lakeIsLocked`: this process has the lake's catalog locked for
   * itself, so no other can be writing, and a lease that a killed gateway left need not be waited for.
   */
  take(lakeIsLocked: boolean): Promise<number | undefined> {
    if (this.held) return Promise.resolve(this.held.epoch);
    // Two takings at once would each raise the epoch, and one of them be stale from the start.
    this.taking ??= this.takeNow(lakeIsLocked).finally(() => (this.taking = undefined));
    return this.taking;
  }

  private async takeNow(lakeIsLocked: boolean): Promise<number | undefined> {
    const asked = performance.now();
    const { rows } = await this.db.query<{ epoch: string }>(
      `UPDATE registry.drain_lease
       SET holder = $1, url = $2, epoch = epoch + 1, expires = clock_timestamp() + $3 * interval '1 millisecond'
       WHERE holder IS NULL OR holder = $1 OR expires <= clock_timestamp() OR $4
       RETURNING epoch`,
      [this.holder, this.url(), LEASE_MS, lakeIsLocked],
    );
    if (rows[0] === undefined) return undefined;
    const epoch = Number(rows[0].epoch);
    const renew = setInterval(() => void this.renew(epoch), RENEW_MS);
    this.held = { epoch, renew, lost: this.lostAfter(asked) };
    return epoch;
  }

  async release(): Promise<void> {
    await this.taking?.catch(() => undefined);
    const epoch = this.epoch;
    this.drop();
    if (epoch === undefined) return;
    await this.db.query(
      `UPDATE registry.drain_lease SET holder = NULL, url = NULL, expires = '-infinity' WHERE holder = $1 AND epoch = $2`,
      [this.holder, epoch],
    );
  }

  async who(): Promise<LeaseHolder> {
    const { rows } = await this.db.query<{ holder: string | null; url: string | null; standing: string }>(
      'SELECT holder, url, expires > clock_timestamp() AS standing FROM registry.drain_lease',
    );
    return { holder: rows[0]?.holder ?? null, url: rows[0]?.url ?? null, standing: rows[0]?.standing === 't' };
  }

  /** For the caller's transaction: locks the lease and says whether it is ours still. */
  async isOurs(client: Pick<Db, 'query'>, epoch: number): Promise<boolean> {
    const { rowCount } = await client.query(
      'SELECT 1 FROM registry.drain_lease WHERE holder = $1 AND epoch = $2 FOR SHARE',
      [this.holder, epoch],
    );
    return rowCount === 1;
  }

  private async renew(epoch: number): Promise<void> {
    const asked = performance.now();
    try {
      const { rowCount } = await this.db.query(
        `UPDATE registry.drain_lease SET expires = clock_timestamp() + $3 * interval '1 millisecond', url = $4
         WHERE holder = $1 AND epoch = $2`,
        [this.holder, epoch, LEASE_MS, this.url()],
      );
      if (this.held?.epoch !== epoch) return;
      if (rowCount !== 1) {
        this.lose();
        return;
      }
      clearTimeout(this.held.lost);
      this.held.lost = this.lostAfter(asked);
    } catch {
      // Postgres is away: it is tried again, and the timer ends the lease if it stays away.
    }
  }

  private lostAfter(asked: number): NodeJS.Timeout {
    return setTimeout(() => this.lose(), LEASE_MS - MARGIN_MS - (performance.now() - asked));
  }

  private lose(): void {
    this.drop();
    this.onLost();
  }

  private drop(): void {
    if (!this.held) return;
    clearInterval(this.held.renew);
    clearTimeout(this.held.lost);
    this.held = undefined;
  }
}
