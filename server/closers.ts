import type { Log } from './log';

const CLOSE_TIMEOUT_MS = 15_000;

/** What was opened, to be closed in reverse: in an orderly end, and when a start fails half-way. */
export class Closers {
  private readonly stack: { name: string; close: () => Promise<unknown> }[] = [];

  add(name: string, close: () => Promise<unknown>): void {
    this.stack.push({ name, close });
  }

  /** Closes all, also when one fails or takes too long: the others must not stay open for it. Never rejects. */
  async closeAll(log: Log | undefined): Promise<void> {
    for (let next = this.stack.pop(); next; next = this.stack.pop()) {
      const { name, close } = next;
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_, failed) => {
        timer = setTimeout(
          () => failed(new Error(`not closed within ${CLOSE_TIMEOUT_MS / 1_000} s`)),
          CLOSE_TIMEOUT_MS,
        );
      });
      try {
        await Promise.race([close(), late]);
      } catch (error) {
        log?.error('close failed', error, { part: name });
      } finally {
        clearTimeout(timer);
      }
    }
  }
}
