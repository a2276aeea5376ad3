import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { LoftError } from '../../../contract/errors';
import { nearNames } from '../../../server/registry/nearNames';
import { resolveFeatures, resolveService, resolveView } from '../../../server/registry/resolve';
import { published, weather, weatherWith } from './published';

function refusal(attempt: () => unknown): LoftError {
  try {
    attempt();
  } catch (error) {
    return error as LoftError;
  }
  assert.fail('was not refused');
}

describe('references', () => {
  const standing = published(weather, weatherWith({ features: { temp: 'float32', wind: 'float64' } }), {
    views: [{ name: 'planes', entity: 'airport', features: { temp: 'int32', seats: 'int32' } }],
  });
  const columns = (features: string[], fullNames = false) =>
    resolveFeatures(standing, { features, fullNames }).map(({ ref, column }) => [column, ref.version]);

  it('mean the current version, or the pinned one', () => {
    assert.deepEqual(columns(['weather:temp', 'weather@v1:wind']), [
      ['temp', 2],
      ['wind', 1],
    ]);
    assert.equal(resolveView(standing, 'weather').version, 2);
    assert.equal(resolveView(standing, 'weather@v1').version, 1);
  });

  it('give columns that do not clash', () => {
    assert.deepEqual(
      columns(['weather:temp', 'planes:temp', 'planes:seats']).map(([column]) => column),
      ['weather__temp', 'planes__temp', 'seats'],
    );
    assert.deepEqual(columns(['planes:seats'], true)[0]?.[0], 'planes__seats');
    assert.deepEqual(
      columns(['weather:temp', 'weather@v1:temp']).map(([column]) => column),
      ['weather_v2__temp', 'weather_v1__temp'],
    );
  });

  it('of a service are those it kept', () => {
    const found = resolveFeatures(standing, { service: 'delay' });
    assert.deepEqual(
      found.map(({ ref, feature }) => [ref.version, feature.type.kind]),
      [[1, 'float64']],
    );
  });

  it('that are unknown are all named, with near ones', () => {
    const error = refusal(() =>
      resolveFeatures(standing, { features: ['weather:tmp', 'plans:seats', 'weather@v9:temp'] }),
    );
    assert.deepEqual([error.status, error.code], [404, 'unknown_feature']);
    assert.deepEqual(
      error.problems.map(({ path, code, expected }) => [path, code, expected]),
      [
        ['features.0', 'unknown_feature', 'View weather (version 2) has no feature tmp. Did you mean temp?'],
        ['features.1', 'unknown_view', 'There is no view plans. Did you mean planes?'],
        ['features.2', 'unknown_version', 'View weather has no version 9; there is 1, 2.'],
      ],
    );
    assert.equal(
      refusal(() => resolveService(standing, 'dealy')).detail,
      'There is no feature service dealy. Did you mean delay?',
    );
  });

  it('that are no references, asked for twice, or not asked for, are refused as such', () => {
    for (const [features, code] of [
      [['weather.temp'], 'bad_reference'],
      [['weather:temp', 'weather@v2:temp'], 'duplicate_feature'],
      [undefined, 'features_or_service'],
      [['__proto__:constructor'], 'bad_reference'],
    ] as const) {
      const error = refusal(() => resolveFeatures(standing, { features: features && [...features] }));
      assert.deepEqual([error.status, error.code], [422, code]);
    }
    assert.equal(
      refusal(() => resolveFeatures(standing, { features: ['a:b'], service: 'delay' })).code,
      'features_or_service',
    );
    assert.equal(refusal(() => resolveView(standing, 'constructor')).code, 'unknown_view');
  });
});

describe('near names', () => {
  it('are a slip away', () => {
    const names = ['temp', 'wind_speed', 'precip', 'visib', 'dep_delay'];
    for (const [wanted, found] of [
      ['tmp', ['temp']],
      ['tepm', ['temp']],
      ['wind_sped', ['wind_speed']],
      ['windspeed', ['wind_speed']],
      ['dep_dlay', ['dep_delay']],
      ['xyz', []],
      ['', []],
    ] as const)
      assert.deepEqual(nearNames(wanted, names), found, wanted);
  });
  it('are found quickly among many', () => {
    const many = Array.from({ length: 20_000 }, (_, n) => `feature_number_${n}`);
    const started = performance.now();
    assert.equal(nearNames('feature_nmber_777', many)[0], 'feature_number_777');
    assert.ok(performance.now() - started < 1_000);
  });
});
