import type { ChangeFeed } from '../../changes/changeFeed';
import type { Db } from '../../postgres/connect';
import type { RegistryCache } from '../../registry/cache';
import { describeFeature, describeView, registryPage } from '../../registry/describe';
import { plan, publish } from '../../registry/publish';
import type { RegistrySnapshot } from '../../registry/snapshot';
import type { SearchIndex } from '../../search/searchIndex';
import type { Handlers } from '../router';

export interface RegistryParts {
  db: Db;
  registry: RegistryCache;
  changes: ChangeFeed;
  search: SearchIndex;
  /** This gateway's name, for the audit log. */
  gateway: string;
}

export function registryRoutes(
  parts: RegistryParts,
): Pick<Handlers, 'plan' | 'publish' | 'registry' | 'view' | 'feature' | 'search'> {
  const { db, changes, search } = parts;
  return {
    plan: ({ body }) => plan(db, body),
    publish: async ({ body, raw }) => {
      const client = (raw.headers['user-agent'] ?? 'unknown client').slice(0, 200);
      const answer = await publish(db, body, `${parts.gateway}, ${client}`);
      // Before it is answered: whoever published finds it here at once, by name and by search.
      if (answer.changes.length > 0) await changes.catchUp();
      return answer;
    },
    registry: async ({ query }) => registryPage(db, await newest(parts), query),
    view: async ({ params }) => describeView(db, await newest(parts), params.view),
    feature: async ({ params }) => describeFeature(db, await newest(parts), params.ref),
    search: ({ query: { q, ...options } }) => Promise.resolve(search.search(q, options)),
  };
}

/** As it is in Postgres now, also when another gateway published a moment ago. */
async function newest({ db, registry }: RegistryParts): Promise<RegistrySnapshot> {
  const { rows } = await db.query<{ registry_version: string }>('SELECT registry_version FROM registry.head');
  return registry.reload(Number(rows[0]?.registry_version));
}
