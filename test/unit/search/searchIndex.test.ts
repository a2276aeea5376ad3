import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { RegistryCache } from '../../../server/registry/cache';
import type { RegistrySnapshot } from '../../../server/registry/snapshot';
import { SearchIndex, type SearchFilters } from '../../../server/search/searchIndex';
import { after, plan, published } from '../registry/published';

const store = {
  entities: [
    { name: 'airport', keys: { origin: 'string' } },
    { name: 'plane', keys: { tailnum: 'string' } },
  ],
  views: [
    {
      name: 'airport_weather',
      entity: 'airport',
      description: 'Hourly weather',
      owner: 'ops@example.org',
      tags: ['weather'],
      features: {
        temp: { type: 'float64', description: 'Temperature of the air in °F', tags: ['raw'] },
        wind_speed: { type: 'float64', description: 'Speed of the wind in miles per hour' },
        visib: { type: 'float64', description: 'Visibility in miles' },
      },
    },
    {
      name: 'plane_facts',
      entity: 'plane',
      owner: 'fleet@example.org',
      features: {
        seats: { type: 'int32', description: 'Seats on board' },
        cruise_speed: 'int32',
        is_on: { type: 'bool', description: 'Whether it flies at this temperature' },
        maker: { type: 'string', description: 'Qui l’a construit: Société Aérospatiale', deprecated: 'use builder' },
        builder: { type: 'string', description: 'Société Aérospatiale and others' },
      },
    },
  ],
};

/** A cache whose snapshot the test sets. */
function following(first: RegistrySnapshot): { index: SearchIndex; load: (snapshot: RegistrySnapshot) => void } {
  const listeners: ((snapshot: RegistrySnapshot) => void)[] = [];
  const cache = {
    current: () => first,
    onLoad: (listener: (snapshot: RegistrySnapshot) => void) => listeners.push(listener),
  };
  const index = new SearchIndex(cache as unknown as RegistryCache);
  return { index, load: (snapshot) => listeners.forEach((listener) => listener(snapshot)) };
}

describe('search', () => {
  const standing = published(store);
  const { index } = following(standing);
  const refs = (query: string, filters: Partial<SearchFilters> = {}): string[] =>
    index.search(query, { limit: 20, ...filters }).hits.map((hit) => hit.ref);

  it('finds by name, part of a name, description, tag, view and entity', () => {
    assert.equal(refs('temp')[0], 'airport_weather:temp');
    assert.deepEqual(refs('visibility'), ['airport_weather:visib']);
    assert.deepEqual(refs('raw'), ['airport_weather:temp']);
    assert.deepEqual(refs('speed').sort(), ['airport_weather:wind_speed', 'plane_facts:cruise_speed']);
    assert.equal(refs('weather').length, 3);
    assert.equal(refs('plane facts').length, 5);
  });

  it('puts a name before words in a description', () => {
    assert.deepEqual(refs('temp').slice(0, 2), ['airport_weather:temp', 'plane_facts:is_on']);
  });

  it('wants all words, and is content with some when nothing has all', () => {
    assert.deepEqual(refs('wind speed'), ['airport_weather:wind_speed']);
    assert.deepEqual(refs('speed of the wind'), ['airport_weather:wind_speed']);
    assert.ok(refs('wind qqqqqq').includes('airport_weather:wind_speed'));
  });

  it('reads snake_case, camelCase and spaces alike, forgives slips, accents and case', () => {
    for (const query of ['wind_speed', 'windSpeed', 'WIND speed', 'wnid_speed', 'wind spede'])
      assert.equal(refs(query)[0], 'airport_weather:wind_speed', query);
    assert.ok(refs('societe aerospatiale').includes('plane_facts:builder'));
    assert.deepEqual(refs('temprature').includes('airport_weather:temp'), true);
  });

  it('puts what is named exactly first, also a name of little words', () => {
    assert.equal(refs('airport_weather:visib')[0], 'airport_weather:visib');
    assert.equal(refs('seats')[0], 'plane_facts:seats');
    assert.equal(refs('is_on')[0], 'plane_facts:is_on');
  });

  it('puts what is deprecated last', () => {
    assert.deepEqual(refs('aérospatiale'), ['plane_facts:builder', 'plane_facts:maker']);
  });

  it('filters, counts, cuts and lists all', () => {
    assert.deepEqual(refs('speed', { entity: 'plane' }), ['plane_facts:cruise_speed']);
    assert.deepEqual(refs('speed', { owner: 'ops@example.org' }), ['airport_weather:wind_speed']);
    assert.deepEqual(refs('', { tag: 'raw' }), ['airport_weather:temp']);
    assert.deepEqual(refs('', { type: 'int32' }), ['plane_facts:cruise_speed', 'plane_facts:seats']);
    const { hits, total } = index.search('', { limit: 2 });
    assert.deepEqual([hits.length, total], [2, 8]);
    assert.equal(index.size, 8);
  });

  it('says which terms were found, and what the feature is', () => {
    assert.deepEqual(
      { ...index.search('temper', { limit: 1 }).hits[0], score: 0 },
      {
        ref: 'airport_weather:temp',
        score: 0,
        terms: ['temperature'],
        view: 'airport_weather',
        entity: 'airport',
        type: 'float64',
        description: 'Temperature of the air in °F',
        owner: 'ops@example.org',
        tags: ['raw', 'weather'],
      },
    );
  });

  it('is calm about queries that are no words', () => {
    for (const query of ['   ', '!!!', '"', 'a'.repeat(500), '\u202e', '(((', '*'.repeat(500), 'a b '.repeat(125)])
      index.search(query, { limit: 20 });
    assert.deepEqual(refs('???'), []);
    assert.deepEqual(refs('zzzzzz'), []);
  });

  it('follows what is published', () => {
    const { index: live, load } = following(standing);
    const find = (query: string): string[] => live.search(query, { limit: 20 }).hits.map((hit) => hit.ref);
    const [weather, planes] = store.views;
    const features = { ...weather?.features, dew_point: { type: 'float64', description: 'Humidity' } };
    const next = after(standing, plan(standing, { ...store, views: [{ ...weather, features }, planes] }));
    load(next);
    assert.deepEqual(find('humidity'), ['airport_weather:dew_point']);
    load(after(next, plan(next, {}, { remove: ['plane_facts'] })));
    assert.deepEqual(find('seats'), []);
    assert.equal(live.size, 4);
  });
});
