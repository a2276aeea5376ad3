import MiniSearch, { type SearchOptions } from 'minisearch';
import type { SearchAnswer } from '../../contract/api';
import { formatFeatureRef } from '../../contract/references';
import { formatValueType } from '../../contract/valueTypes';
import type { RegistryCache } from '../registry/cache';
import { featureInfo } from '../registry/describe';
import { currentVersion } from '../registry/resolve';
import type { RegistrySnapshot, TypedColumn, ViewVersion } from '../registry/snapshot';
import { queryTerms, termsOf } from './terms';

export interface SearchFilters {
  limit: number;
  entity?: string | undefined;
  owner?: string | undefined;
  tag?: string | undefined;
  type?: string | undefined;
}

/** A feature as it is found; fields that hold several words are texts. */
interface Entry {
  ref: string;
  name: string;
  view: string;
  entity: string;
  type: string;
  description: string;
  owner: string;
  tags: string[];
  tagText: string;
  deprecated: boolean;
}

/** Where a word stands says how much it tells. */
const BOOSTS = { name: 5, tagText: 3, view: 2, description: 1.5, entity: 1, owner: 0.7, type: 0.5 };
const SEARCH: SearchOptions = {
  boost: BOOSTS,
  tokenize: queryTerms,
  processTerm: (term) => term,
  prefix: (term) => term.length > 1,
  weights: { prefix: 0.5, fuzzy: 0.2 },
};
/** A slip in a long word; in a short one it would be another word. */
const FUZZY: SearchOptions = {
  fuzzy: (term) => (term.length > 3 && !/^\d+$/.test(term) ? 0.25 : false),
  maxFuzzy: 2,
};
/** The first that finds something: "weather" is no slip of "whether" while some feature has it. */
const attempts: SearchOptions[] = [
  { combineWith: 'AND' },
  { combineWith: 'AND', ...FUZZY },
  { combineWith: 'OR', ...FUZZY },
];
const DEPRECATED_FACTOR = 0.4;

/** Search over the features of all current view versions. Follows the registry: what it loads is found at once. */
export class SearchIndex {
  private readonly index = new MiniSearch<Entry>({
    idField: 'ref',
    fields: Object.keys(BOOSTS),
    tokenize: termsOf,
    processTerm: (term) => term,
  });
  private readonly entries = new Map<string, Entry>();
  private readonly indexed = new Map<string, { version: ViewVersion; entries: Entry[] }>();

  constructor(registry: RegistryCache) {
    this.follow(registry.current());
    registry.onLoad((snapshot) => this.follow(snapshot));
  }

  /** How many features can be found. */
  get size(): number {
    return this.entries.size;
  }

  /**
   * Best first. Features in which all words of the query are found, or begin; when there are none, those with words a
   * slip away; then those with any of them. What is named exactly comes first. An empty query finds all, by name.
   */
  search(query: string, filters: SearchFilters): SearchAnswer {
    const started = performance.now();
    const wanted = query.trim().toLowerCase();
    const ranked = this.find(query.trim(), filters)
      .map(({ id, score, terms }) => ({ entry: this.entries.get(id as string), score, terms }))
      .filter((hit): hit is typeof hit & { entry: Entry } => hit.entry !== undefined)
      .map((hit) => ({ ...hit, exact: exactness(hit.entry, wanted) }))
      .sort((a, b) => b.exact - a.exact || b.score - a.score || (a.entry.ref < b.entry.ref ? -1 : 1));
    return {
      hits: ranked.slice(0, filters.limit).map(({ entry, score, terms }) => hitOf(entry, score, terms)),
      total: ranked.length,
      tookMs: performance.now() - started,
    };
  }

  private find(query: string, filters: SearchFilters): { id: unknown; score: number; terms: string[] }[] {
    const options: SearchOptions = {
      ...SEARCH,
      filter: ({ id }) => passes(this.entries.get(id as string), filters),
      boostDocument: (id) => (this.entries.get(id as string)?.deprecated ? DEPRECATED_FACTOR : 1),
    };
    if (queryTerms(query).length === 0) return query === '' ? this.index.search(MiniSearch.wildcard, options) : [];
    for (const attempt of attempts) {
      const found = this.index.search(query, { ...options, ...attempt });
      if (found.length > 0) return found;
    }
    return [];
  }

  /** Only views that changed are indexed anew: an unchanged one is the same object in every snapshot. */
  private follow(snapshot: RegistrySnapshot): void {
    for (const name of this.indexed.keys()) if (!snapshot.views.has(name)) this.replace(name, undefined);
    for (const [name, versions] of snapshot.views) {
      const version = currentVersion(versions);
      if (version !== this.indexed.get(name)?.version) this.replace(name, version);
    }
  }

  private replace(name: string, version: ViewVersion | undefined): void {
    const before = this.indexed.get(name)?.entries ?? [];
    this.index.removeAll(before.slice());
    for (const { ref } of before) this.entries.delete(ref);
    this.indexed.delete(name);
    if (version === undefined) return;
    const entries = version.features.map((feature) => entryOf(version, feature));
    this.index.addAll(entries);
    for (const entry of entries) this.entries.set(entry.ref, entry);
    this.indexed.set(name, { version, entries });
  }
}

function entryOf(view: ViewVersion, feature: TypedColumn): Entry {
  const { description = '', owner = '', tags = [], deprecated } = featureInfo(view, feature);
  return {
    ref: formatFeatureRef({ view: view.name, feature: feature.name }),
    name: feature.name,
    view: view.name,
    entity: view.entity.name,
    type: formatValueType(feature.type),
    description,
    owner,
    tags,
    tagText: tags.join(' '),
    deprecated: deprecated !== undefined,
  };
}

function passes(entry: Entry | undefined, { entity, owner, tag, type }: SearchFilters): boolean {
  return (
    entry !== undefined &&
    (entity === undefined || entry.entity === entity) &&
    (owner === undefined || entry.owner === owner) &&
    (tag === undefined || entry.tags.includes(tag)) &&
    (type === undefined || entry.type === type.replaceAll(' ', ''))
  );
}

function exactness(entry: Entry, wanted: string): number {
  if (entry.ref === wanted) return 2;
  return entry.name === wanted ? 1 : 0;
}

function hitOf(entry: Entry, score: number, terms: string[]): SearchAnswer['hits'][number] {
  const { ref, view, entity, type, description, owner, tags } = entry;
  return {
    ref,
    score,
    terms,
    view,
    entity,
    type,
    ...(description === '' ? {} : { description }),
    ...(owner === '' ? {} : { owner }),
    ...(tags.length === 0 ? {} : { tags }),
  };
}
