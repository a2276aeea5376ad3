import assert from 'node:assert/strict';
import fc from 'fast-check';
import { canonicalJson } from '../../../contract/canonical';
import {
  JsonError,
  JsonNumber,
  type JsonObject,
  maxJsonDepth,
  own,
  parseJson,
  printJson,
  RawJson,
} from '../../../contract/json';

/** Any JSON text in the one form that `printJson` writes, with numbers in every form that JSON has. */
const numberTexts = fc
  .tuple(
    fc.constantFrom('', '-'),
    fc.oneof(fc.constant('0'), fc.bigInt({ min: 1n, max: 10n ** 40n }).map(String)),
    fc.oneof(fc.constant(''), fc.stringMatching(/^\.[0-9]{1,30}$/)),
    fc.oneof(fc.constant(''), fc.stringMatching(/^[eE][+-]?[0-9]{1,2}$/)),
  )
  .map((parts) => parts.join(''))
  .map((text) => (text === '-0' ? '-0.0' : text));
const keys = fc.oneof(fc.string(), fc.nat(20).map(String), fc.constantFrom('__proto__', 'constructor', 'toString'));
const { compactText } = fc.letrec<{ compactText: string }>((tie) => ({
  compactText: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom('null', 'true', 'false'),
    numberTexts,
    fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
    fc.array(tie('compactText')).map((items) => `[${items.join(',')}]`),
    fc
      .uniqueArray(fc.tuple(keys, tie('compactText')), { selector: ([key]) => key })
      .map((members) => `{${members.map(([key, value]) => `${JSON.stringify(key)}:${value}`).join(',')}}`),
  ),
}));

describe('the JSON codec', () => {
  it('keeps integers beyond 2^53, -0, and numbers with more digits than a float64', () => {
    assert.equal(parseJson('9007199254740991'), 9007199254740991);
    assert.equal(parseJson('9007199254740993'), 9007199254740993n);
    assert.equal(parseJson('-9223372036854775808'), -9223372036854775808n);
    assert.ok(Object.is(parseJson('-0'), -0));
    assert.ok(Object.is(parseJson('-0.0'), -0));
    assert.equal(printJson([-0, 2n ** 63n, 0.1, 1e20, 1e21]), '[-0.0,9223372036854775808,0.1,1e+20,1e+21]');
    const long = '3.14159265358979323846264338327950288';
    assert.deepEqual(parseJson(long), new JsonNumber(long));
    assert.equal(printJson(parseJson(`{"pi":${long}}`)), `{"pi":${long}}`);
    assert.deepEqual(parseJson('1e-400'), new JsonNumber('1e-400'));
  });

  it('gives plain numbers for other spellings of a float64, unless asked for verbatim ones', () => {
    assert.deepEqual(parseJson('[1.0,1e5,0.10,1E+2,0e9]'), [1, 100_000, 0.1, 100, 0]);
    const text = '[1.0,1e5,0.10,1E+2,0e9,1.5,7]';
    assert.equal(printJson(parseJson(text, { verbatim: true })), text);
    assert.deepEqual(parseJson('[1.5,7]', { verbatim: true }), [1.5, 7]);
  });

  it('writes any JSON text again as it came', () => {
    fc.assert(
      fc.property(compactText, (text) => {
        assert.equal(printJson(parseJson(text, { verbatim: true })), text);
      }),
      { numRuns: 500 },
    );
  });

  it('gives back a number as a number and a bigint as a bigint', () => {
    fc.assert(
      fc.property(fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.maxSafeInteger()), (number) => {
        assert.ok(Object.is(parseJson(printJson(number)), number));
      }),
    );
    const beyond = fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n }).chain((size) => fc.constantFrom(size, -size));
    fc.assert(fc.property(beyond, (whole) => assert.equal(parseJson(printJson(whole)), whole)));
  });

  it('reads what JSON.parse reads, and refuses what it refuses', () => {
    const fragments = '{ } [ ] : , "a" "b\\n" "\\u00e9" "\\x" "\t" \\ " 0 1 -1 01 1. .5 1e3 +1 true nul null \n'.split(
      / /,
    );
    const garbage = fc.array(fc.constantFrom(...fragments, ' ', '\u00a0', '"\\ud800"'), { maxLength: 8 });
    fc.assert(
      fc.property(
        garbage.map((parts) => parts.join('')),
        (text) => {
          let expected: unknown;
          try {
            expected = JSON.parse(text);
          } catch {
            assert.throws(() => parseJson(text), JsonError);
            return;
          }
          try {
            assert.deepEqual(parseJson(text), expected);
          } catch (error) {
            // The two things that JSON.parse lets pass.
            const known = error instanceof JsonError && ['duplicate_key', 'number_out_of_range'].includes(error.code);
            if (!known) throw error;
          }
        },
      ),
      { numRuns: 5_000 },
    );
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(undefined, 1, '\r\n\t'), (value, indent) => {
        const text = JSON.stringify(value, undefined, indent);
        assert.deepEqual(JSON.parse(printJson(parseJson(text))), JSON.parse(text));
      }),
    );
  });

  it('keeps __proto__ and constructor as own members and sets no prototype', () => {
    const object = parseJson('{"__proto__":{"admin":true},"constructor":1}') as JsonObject;
    assert.deepEqual(Object.keys(object), ['__proto__', 'constructor']);
    assert.equal(Object.getPrototypeOf(object), Object.prototype);
    assert.equal(own(object, 'admin'), undefined);
    assert.deepEqual(own(object, '__proto__'), { admin: true });
    assert.equal(own({}, 'constructor'), undefined);
    assert.equal(printJson(object), '{"__proto__":{"admin":true},"constructor":1}');
  });

  it('keeps the order of keys that look like numbers until a key is added', () => {
    const object = parseJson('{"b":1,"10":2,"2":3}') as JsonObject;
    assert.equal(printJson(object), '{"b":1,"10":2,"2":3}');
    assert.equal(printJson({ ...object, a: 4 }), '{"2":3,"10":2,"b":1,"a":4}');
  });

  it('refuses a repeated key, even with an equal value, and says where', () => {
    for (const text of ['{"a":1,\n "a":1}', '{"a":1,\n "\\u0061":2}', '{"__proto__":1,\n "__proto__":1}']) {
      assert.throws(
        () => parseJson(text),
        (error) =>
          error instanceof JsonError && error.code === 'duplicate_key' && /line 2, column 2/.test(error.message),
      );
    }
  });

  it('refuses a number beyond float64, and says where', () => {
    for (const number of ['1e999', '-1e999', '9'.repeat(310)]) {
      assert.throws(
        () => parseJson(`[1, ${number}]`),
        (error) => error instanceof JsonError && error.code === 'number_out_of_range' && error.position === 4,
      );
    }
  });

  it('refuses deep nesting with a clear error', () => {
    const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
    assert.equal(printJson(parseJson(nested(maxJsonDepth))), nested(maxJsonDepth));
    for (const text of [nested(maxJsonDepth + 1), '['.repeat(1_000_000), '{"a":'.repeat(1_000_000)]) {
      assert.throws(() => parseJson(text), { code: 'too_deep', message: /nested more than 200 deep/ });
    }
  });

  const broken: [string, RegExp][] = [
    ['', /line 1, column 1: found the end, expected a value/],
    ['[1,]', /column 4: found "]", expected a value/],
    ['{"a" 1}', /found "1", expected ":"/],
    ['{a:1}', /found "a", expected a key in double quotes/],
    ['[1 2]', /expected "," or "]"/],
    ['"abc', /found the end, expected the closing quote/],
    ['"a\nb"', /column 3: .*control characters/],
    ['"a\\\\\\qb"', /column 5: .*JSON escape/],
    ['[1]]', /expected the end/],
    ['NaN', /found "N", expected a value/],
    ['\ufeff1', /expected a value/],
  ];
  for (const [text, words] of broken) {
    it(`says where ${JSON.stringify(text)} is broken`, () => {
      assert.throws(() => parseJson(text), { code: 'bad_json', message: words });
    });
  }

  it('reads a 10 MB body within seconds, whatever it is full of', () => {
    const size = 10_000_000;
    const bodies = [
      JSON.stringify('x'.repeat(size)),
      JSON.stringify('"\\'.repeat(size / 4)),
      `[${Array.from({ length: size / 80 }, (_, row) => `{"origin":"JFK","temp":${row / 7},"id":${row},"at":"2013-01-01T05:00:00Z"}`).join(',')}]`,
      `[0.${'0'.repeat(size)}1]`,
      ' '.repeat(size) + '1',
    ];
    for (const body of bodies) {
      const started = performance.now();
      parseJson(body);
      assert.ok(performance.now() - started < 5_000);
    }
    assert.throws(() => parseJson('9'.repeat(size)), JsonError);
    assert.throws(() => parseJson('"' + '\\"'.repeat(size / 2)), JsonError);
  }).timeout(60_000);

  it('writes raw JSON as it is and leaves undefined members out', () => {
    assert.equal(printJson({ a: new RawJson('1.50'), b: undefined, c: [null, true] }), '{"a":1.50,"c":[null,true]}');
  });

  it('refuses to write what JSON cannot say', () => {
    const shapeless = [NaN, Infinity, undefined, () => 1, Symbol('x'), new Date(0), new Map(), [undefined]];
    for (const value of shapeless) assert.throws(() => printJson(value), TypeError);
  });
});

describe('canonical JSON', () => {
  it('sorts keys at every depth and writes no spaces', () => {
    assert.equal(
      canonicalJson({ b: [{ d: 1n, c: 'é' }], a: -0, B: null, x: undefined }),
      '{"B":null,"a":-0.0,"b":[{"c":"é","d":1}]}',
    );
  });

  it('does not depend on the order of members', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (object) => {
        const reversed = Object.fromEntries(Object.entries(object).reverse());
        assert.equal(canonicalJson(reversed), canonicalJson(object));
        assert.deepEqual(parseJson(canonicalJson(object)), parseJson(printJson(object)));
      }),
    );
  });

  it('refuses text that has more than one form', () => {
    for (const value of [new RawJson('1.0'), { a: new JsonNumber('1.0') }, new Date(0), NaN]) {
      assert.throws(() => canonicalJson(value), TypeError);
    }
  });
});
