import type { Db } from '../postgres/connect';
import { loadRegistry, type LoadMemory } from './load';
import type { RegistrySnapshot } from './snapshot';

/**
 * The registry as this gateway last saw it. It may be behind: whoever uses it compares `registryVersion` with
 * `registry.head` in the statement it runs, and calls `reload` with the newer version when they differ.
 */
export class RegistryCache {
  private snapshot: RegistrySnapshot | undefined;
  private running: Promise<RegistrySnapshot> | undefined;
  private waiting: Promise<RegistrySnapshot> | undefined;
  private readonly memory: LoadMemory = new Map();
  private readonly listeners = new Set<(snapshot: RegistrySnapshot) => void>();

  constructor(private readonly db: Db) {}

  /** Throws until the first `reload` has ended. */
  current(): RegistrySnapshot {
    if (this.snapshot === undefined) throw new Error('the registry is read before it was loaded');
    return this.snapshot;
  }

  /**
   * Loads what is committed now; with a version, only when the cache is behind it. Callers share a load that has not
   * been sent yet, never one that has: it might have missed what they came for.
   */
  async reload(atLeastVersion?: number): Promise<RegistrySnapshot> {
    const reached = (snapshot: RegistrySnapshot | undefined): snapshot is RegistrySnapshot =>
      atLeastVersion !== undefined && snapshot !== undefined && snapshot.registryVersion >= atLeastVersion;
    if (reached(this.snapshot)) return this.snapshot;
    if (atLeastVersion !== undefined && this.running !== undefined) {
      const loaded = await this.running.catch(() => undefined);
      if (reached(loaded)) return loaded;
    }
    this.waiting ??= this.afterRunning();
    return this.waiting;
  }

  /** Called with each newly loaded snapshot, before `reload` answers. Returns the way to stop. */
  onLoad(listener: (snapshot: RegistrySnapshot) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private async afterRunning(): Promise<RegistrySnapshot> {
    await this.running?.catch(() => undefined);
    const load = this.load();
    this.running = load;
    this.waiting = undefined;
    try {
      return await load;
    } finally {
      if (this.running === load) this.running = undefined;
    }
  }

  private async load(): Promise<RegistrySnapshot> {
    const snapshot = await loadRegistry(this.db, this.memory);
    this.snapshot = snapshot;
    for (const listener of this.listeners) listener(snapshot);
    return snapshot;
  }
}
