import { setTimeout as delay } from 'node:timers/promises';
import type { ChangeEvent } from '../contract/api';
import { LoftError } from '../contract/errors';
import { parseJson } from '../contract/json';
import { readEvents } from './eventReader';
import type { GatewayClient } from './gatewayClient';

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;
/** A gateway sends a heartbeat every 15 s: a stream that is silent for longer has lost its other side. */
const SILENCE_MS = 45_000;

export type Followed =
  | { kind: 'change'; position: number; change: ChangeEvent }
  /** Changes were missed: what is known of the registry is to be read again. */
  | { kind: 'resync'; position: number | undefined }
  | { kind: 'connected' }
  | { kind: 'disconnected'; error: unknown };

/**
 * Follows the registry's changes until the signal fires: in order, without a gap or with a `resync` in its place. A lost
 * connection is made again after a growing pause and resumed after the last change seen. Ends with the error of a refusal
 * that trying again does not mend, such as a wrong token.
 */
export async function* followChanges(
  client: GatewayClient,
  options: { signal: AbortSignal; after?: number },
): AsyncGenerator<Followed, void> {
  let position = options.after;
  let pause = FIRST_PAUSE_MS;
  while (!options.signal.aborted) {
    const silence = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const arm = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(new Error('the change stream fell silent')), SILENCE_MS);
    };
    try {
      arm();
      const stream = await client.events('changes', {
        signal: AbortSignal.any([options.signal, silence.signal]),
        ...(position === undefined ? {} : { headers: { 'last-event-id': String(position) } }),
      });
      pause = FIRST_PAUSE_MS;
      yield { kind: 'connected' };
      for await (const event of readEvents(stream, arm)) {
        if (event.id !== undefined && /^\d+$/.test(event.id)) position = Number(event.id);
        if (event.event === 'resync') yield { kind: 'resync', position };
        else if (event.event === 'change' && position !== undefined) {
          yield { kind: 'change', position, change: parseJson(event.data) as unknown as ChangeEvent };
        }
      }
      if (!options.signal.aborted) yield { kind: 'disconnected', error: undefined };
    } catch (error) {
      if (options.signal.aborted) return;
      if (error instanceof LoftError && error.status >= 400 && error.status < 500) throw error;
      yield { kind: 'disconnected', error };
    } finally {
      clearTimeout(timer);
    }
    await delay(pause * (0.5 + Math.random()), undefined, { signal: options.signal }).catch(() => undefined);
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }
}
