import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Store } from './store';

/** What one client does in its n-th turn: a request, and whether its answer is the right one. */
export interface Turn {
  path: string;
  body: string;
  /** Throws when the answer, or what it says, is wrong. */
  check: (answer: string) => void;
}

export interface LoadReport {
  clients: number;
  requests: number;
  errors: string[];
  wrong: string[];
  /** From the intended start of each request to its answer, in ms. */
  p50: number;
  p99: number;
  /** Most requests on their way at once; a client has at most one. */
  mostInFlight: number;
  /** Most requests whose intended start had passed without an answer. */
  mostDue: number;
}

/** A request that takes longer than this has failed. */
const ANSWER_TIMEOUT_MS = 60_000;

/**
 * Open loop: each client is to send a request every `everyMs`, whatever became of the ones before, and its time counts from
 * that intended start. So a gateway that stalls is charged for those who had to wait (coordinated omission is corrected).
 * A client has one connection; what it can't send in time it sends as soon as that is free.
 */
export async function openLoop(
  store: Store,
  options: { clients: number; everyMs: number; forMs: number; turn: (client: number, number: number) => Turn },
): Promise<LoadReport> {
  const { clients, everyMs, forMs, turn } = options;
  const turns = Math.floor(forMs / everyMs);
  const begin = performance.now() + 100;
  const taken: number[] = [];
  const errors: string[] = [];
  const wrong: string[] = [];
  let [answered, inFlight, mostInFlight, mostDue] = [0, 0, 0, 0];

  const lookAtBacklog = setInterval(() => {
    const due = Math.min(turns, Math.max(0, (performance.now() - begin) / everyMs)) * clients;
    mostDue = Math.max(mostDue, Math.round(due - answered));
  }, 50);

  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const phase = (client / clients) * everyMs;
      for (let number = 0; number < turns; number++) {
        const intended = begin + phase + number * everyMs;
        const early = intended - performance.now();
        if (early > 0) await delay(early);
        const { path, body, check } = turn(client, number);
        mostInFlight = Math.max(mostInFlight, ++inFlight);
        try {
          const { status, text } = await post(agent, store, path, body);
          if (status !== 200) errors.push(`${status} ${text.slice(0, 200)}`);
          else checkInto(wrong, () => check(text));
        } catch (error) {
          errors.push((error as Error).message);
        }
        inFlight--;
        answered++;
        taken.push(performance.now() - intended);
      }
      agent.destroy();
    }),
  );
  clearInterval(lookAtBacklog);
  taken.sort((a, b) => a - b);
  const quantile = (share: number): number => Math.round((taken[Math.ceil(share * taken.length) - 1] ?? NaN) * 10) / 10;
  return {
    ...{ clients, requests: answered, errors, wrong, mostInFlight, mostDue },
    ...{ p50: quantile(0.5), p99: quantile(0.99) },
  };
}

function checkInto(wrong: string[], check: () => void): void {
  try {
    check();
  } catch (error) {
    wrong.push((error as Error).message);
  }
}

function post(agent: Agent, store: Store, path: string, body: string): Promise<{ status: number; text: string }> {
  return new Promise((done, failed) => {
    const sent = request(
      new URL(path, store.url),
      {
        ...{ method: 'POST', agent, timeout: ANSWER_TIMEOUT_MS },
        headers: {
          authorization: `Bearer ${store.token}`,
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
        },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.once('end', () => done({ status: response.statusCode ?? 0, text }));
        response.once('error', failed);
      },
    );
    sent.once('timeout', () => sent.destroy(new Error(`no answer within ${ANSWER_TIMEOUT_MS / 1_000} s`)));
    sent.once('error', failed);
    sent.end(body);
  });
}
