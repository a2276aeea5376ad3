import type { Health } from '../../../contract/api';
import { CHALLENGE_HEADER, MAX_CHALLENGE_CHARACTERS, PROOF_HEADER } from '../../../contract/discovery';
import { LoftError } from '../../../contract/errors';
import { proofOf } from '../../discoveryFile';
import type { OfflineStore } from '../../offline/offlineStore';
import { outboxStatus, type OutboxStatus } from '../../online/outboxStatus';
import type { Db } from '../../postgres/connect';
import type { RegistryCache } from '../../registry/cache';
import { VERSION } from '../../version';
import { JsonReply } from '../reply';
import type { Handlers, RouteRequest } from '../router';

/** A probe must be answered even when Postgres does not answer at all. */
const PROBE_TIMEOUT_MS = 2_000;

export interface HealthParts {
  token: string;
  db: Db;
  embedded: boolean;
  registry: RegistryCache;
  offline: OfflineStore;
  /** How many features can be searched. */
  searchSize: () => number;
}

export function healthRoutes(parts: HealthParts): Pick<Handlers, 'health' | 'ready'> {
  return {
    health: async (request) => {
      const headers = proofHeaders(parts.token, request);
      const value = await readHealth(parts, request.hasToken);
      return new JsonReply<Health>({ value }, { headers });
    },
    ready: async (request) => {
      const value = await readHealth(parts, request.hasToken);
      const { state } = await probeOnline(parts.db);
      return new JsonReply<Health>({ value }, { status: state === 'ok' ? 200 : 503 });
    },
  };
}

/** Only a holder of the token can answer a challenge, so whoever asks learns whom it talks to before it tells its token. */
function proofHeaders(token: string, { raw }: RouteRequest<'health'>): Record<string, string> {
  const challenge = raw.headers[CHALLENGE_HEADER];
  if (challenge === undefined) return {};
  if (typeof challenge !== 'string' || challenge === '' || challenge.length > MAX_CHALLENGE_CHARACTERS) {
    throw new LoftError(400, 'bad_challenge', `A challenge has 1 to ${MAX_CHALLENGE_CHARACTERS} characters.`);
  }
  return { [PROOF_HEADER]: proofOf(token, challenge) };
}

async function readHealth(parts: HealthParts, hasToken: boolean): Promise<Health> {
  const online = await probeOnline(parts.db);
  const offline = parts.offline.status();
  const status = online.state === 'ok' && offline.state === 'ok' ? 'ok' : 'degraded';
  if (!hasToken) return { status };
  return {
    status,
    version: VERSION,
    stores: {
      online: {
        state: online.state,
        ...('detail' in online ? { detail: online.detail } : {}),
        embedded: parts.embedded,
      },
      offline: {
        state: offline.state,
        ...('detail' in offline ? { detail: offline.detail } : {}),
        lake: offline.lake,
      },
    },
    registryVersion: parts.registry.current().registryVersion,
    ...(online.state === 'ok' ? { outbox: online.outbox } : {}),
    search: { features: parts.searchSize() },
  };
}

type OnlineProbe = { state: 'ok'; outbox: OutboxStatus } | { state: 'away'; detail: string };

async function probeOnline(db: Db): Promise<OnlineProbe> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, failed) => {
    const error = new LoftError(
      503,
      'online_store_away',
      `Postgres has not answered for ${PROBE_TIMEOUT_MS / 1_000} s.`,
    );
    timer = setTimeout(() => failed(error), PROBE_TIMEOUT_MS);
  });
  try {
    return { state: 'ok', outbox: await Promise.race([outboxStatus(db), late]) };
  } catch (error) {
    return { state: 'away', detail: error instanceof LoftError ? error.detail : 'Postgres can’t be asked.' };
  } finally {
    clearTimeout(timer);
  }
}
