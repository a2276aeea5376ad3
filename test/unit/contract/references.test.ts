import assert from 'node:assert/strict';
import {
  formatFeatureRef,
  formatViewRef,
  outputColumns,
  parseFeatureRef,
  parseViewRef,
} from '../../../contract/references';

describe('references', () => {
  it('reads and writes plain and pinned references', () => {
    assert.deepEqual(parseFeatureRef('weather:temp'), { view: 'weather', feature: 'temp' });
    assert.deepEqual(parseFeatureRef('weather@v12:temp'), { view: 'weather', version: 12, feature: 'temp' });
    assert.deepEqual(parseViewRef('weather'), { view: 'weather' });
    assert.deepEqual(parseViewRef('weather@v2'), { view: 'weather', version: 2 });
    for (const text of ['weather:temp', 'weather@v2:temp']) assert.equal(formatFeatureRef(parseFeatureRef(text)), text);
    for (const text of ['weather', 'weather@v2']) assert.equal(formatViewRef(parseViewRef(text)), text);
  });

  const refused: [string, RegExp][] = [
    ['', /expected view:feature or view@v2:feature/],
    ['weather', /expected view:feature/],
    ['weather.temp', /Did you mean weather:temp\?/],
    ['weather__temp', /Did you mean weather:temp\?/],
    ['weather:temp@v2', /Did you mean weather@v2:temp\?/],
    ['weather@v1:temp@v2', /this one has/],
    ['weather:temp:max', /expected view:feature/],
    [':temp', /this one is empty/],
    ['weather:', /this one is empty/],
    ['Weather:temp', /Did you mean weather\?/],
    ['weather:__proto__', /expected a feature name of/],
    ['weather@2:temp', /such as weather@v2/],
    ['weather@v0:temp', /such as weather@v1/],
    ['weather@v02:temp', /such as weather@v2/],
    ['weather@v:temp', /expected a version such as weather@v/],
    ['weather@v2147483648:temp', /expected a version such as weather@v/],
    ['weather@v1@v2:temp', /expected a version such as weather@v/],
    ['weather @v1:temp', /a space/],
    ['a__'.repeat(1_000_000) + '!', /expected view:feature/],
    ['weather:temp\n', /U\+000A/],
  ];
  for (const [text, words] of refused) {
    it(`refuses ${JSON.stringify(text.slice(0, 40))}`, () => {
      assert.throws(() => parseFeatureRef(text), { name: 'TypeError', message: words });
    });
  }

  const columns = (texts: string[], fullNames = false): string[] =>
    outputColumns(texts.map(parseFeatureRef), fullNames);

  it('names a column after its feature, and after its view too where two views clash', () => {
    assert.deepEqual(columns(['a:x', 'b:y']), ['x', 'y']);
    assert.deepEqual(columns(['a:x', 'b:x', 'b:y']), ['a__x', 'b__x', 'y']);
    assert.deepEqual(columns(['a:x', 'b:y'], true), ['a__x', 'b__y']);
  });

  it('tells two versions of one view apart', () => {
    assert.deepEqual(columns(['a@v1:x', 'a@v2:x']), ['a_v1__x', 'a_v2__x']);
    assert.deepEqual(columns(['a:x', 'a@v1:x', 'b:x'], true), ['a__x', 'a_v1__x', 'b__x']);
  });

  it('refuses a reference asked for twice', () => {
    assert.throws(() => columns(['a:x', 'a:x']), /a:x and a:x would both be column a__x/);
    assert.throws(() => columns(['a@v1:x', 'a@v2:x', 'a_v1:x']), /would both be column a_v1__x/);
  });
});
