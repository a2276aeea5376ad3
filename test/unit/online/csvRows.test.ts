import assert from 'node:assert/strict';
import { csvRows } from '../../../server/online/decode/csvRows';
import { decode, inPieces, refusalOf, viewOf, type Decoded } from './decoding';

const view = viewOf({ features: { temp: 'float64', note: 'string', tags: 'list<string>' } });
const read = (text: string | Buffer, of = view, size = 7): Promise<Decoded> =>
  decode(of, csvRows(inPieces(text, size)));
const at = '2024-01-01T00:00:00Z';

describe('rows in CSV', () => {
  it('are read with quotes, line ends of both kinds, and a byte order mark', async () => {
    const text = `\ufefforigin,note,temp,event_timestamp,tags\r\nJFK,"a ""quoted"", note\r\nof two lines",39.50,${at},"[""x"",null]"\r\n\r\nLGA,é😀,-0,${at},\n`;
    for (const size of [1, 3, 1_000]) {
      const decoded = await read(text, view, size);
      assert.deepEqual(decoded.problems, []);
      assert.deepEqual(decoded.rows, [
        {
          origin: 'JFK',
          note: 'a "quoted", note\r\nof two lines',
          temp: '39.5',
          tags: '["x",null]',
          event_timestamp: at,
        },
        { origin: 'LGA', note: 'é😀', temp: '-0', event_timestamp: at },
      ]);
    }
  });

  it('tell null, an empty field, from the empty string, an empty field in quotes', async () => {
    const { rows, problems } = await read(
      `origin,note,event_timestamp\n"",,${at}\nJFK,"",${at}\nEWR,NULL,${at}\n,x,${at}\n`,
    );
    assert.deepEqual(rows, [
      { origin: '', event_timestamp: at },
      { origin: 'JFK', note: '', event_timestamp: at },
      { origin: 'EWR', note: 'NULL', event_timestamp: at },
    ]);
    assert.deepEqual(
      problems.map(({ row, field, code, found }) => [row, field, code, found]),
      [[3, 'origin', 'missing_value', 'null']],
    );
  });

  it('have ragged rows told with their line, and the others read', async () => {
    const { numbers, problems } = await read(
      `origin,note,event_timestamp\nA,"x\ny",${at}\nB,${at}\nC,x,${at},9\nD,x,${at}\n`,
    );
    assert.deepEqual(numbers, [0, 3]);
    assert.deepEqual(
      problems.map(({ row, code, found, expected }) => [row, code, found, expected]),
      [
        [1, 'ragged_row', '2 fields (line 4)', '3 fields, as in the header'],
        [2, 'ragged_row', '4 fields (line 5)', '3 fields, as in the header'],
      ],
    );
  });

  it('have bad values told with what was found and expected', async () => {
    const { problems } = await read(`origin,temp,event_timestamp\nJFK,warm,yesterday\n`);
    assert.deepEqual(
      problems.map(({ row, field, code }) => [row, field, code]),
      [
        [0, 'temp', 'wrong_type'],
        [0, 'event_timestamp', 'wrong_type'],
      ],
    );
  });

  const refused: [string, string, string, RegExp][] = [
    [
      'an unknown column',
      `origin,tmep,event_timestamp\n`,
      'bad_columns',
      /unknown column tmep \(expected temp, perhaps/,
    ],
    ['no key', `temp,event_timestamp\n`, 'bad_columns', /expected origin, a key of airport/],
    ['no event time', `origin,temp\n`, 'bad_columns', /expected event_timestamp, the event time/],
    ['a column twice', `origin,temp,temp,event_timestamp\n`, 'bad_columns', /temp twice/],
    ['a nameless column', `origin,,event_timestamp\n`, 'bad_columns', /unknown column/],
    [
      'semicolons',
      `origin;temp;event_timestamp\nJFK;1;${at}\n`,
      'wrong_delimiter',
      /separated by semicolons; expected commas/,
    ],
    ['tabs', `origin\ttemp\tevent_timestamp\n`, 'wrong_delimiter', /tabs/],
    ['a column named __proto__', `origin,__proto__,event_timestamp\n`, 'bad_columns', /__proto__/],
    ['nothing', '', 'bad_csv', /empty/],
    ['a quote that is never closed', `origin,event_timestamp\nJFK,"${at}\n`, 'bad_csv', /no closing quote/],
    ['text after a closing quote', `origin,event_timestamp\n"JFK"x,${at}\n`, 'bad_csv', /line 2/],
    ['a quote inside a field', `origin,event_timestamp\nJ"FK,${at}\n`, 'bad_csv', /middle of a field/],
  ];
  for (const [what, text, code, words] of refused) {
    it(`are refused whole with ${what}`, async () => {
      const refusal = await refusalOf(read(text));
      assert.equal(refusal.code, code);
      assert.match(refusal.detail, words);
    });
  }

  it('list every mistake of the header at once', async () => {
    const { problems } = await refusalOf(read('orgin,temp,temp\n'));
    assert.deepEqual(
      problems.map(({ field, code }) => [field, code]),
      [
        ['orgin', 'unknown_column'],
        ['temp', 'duplicate_column'],
        ['origin', 'missing_column'],
        ['event_timestamp', 'missing_column'],
      ],
    );
  });

  it('must be UTF-8, not Latin-1 or UTF-16', async () => {
    const text = `origin,event_timestamp\nZ\u00fcrich,${at}\n`;
    assert.equal((await refusalOf(read(Buffer.from(text, 'latin1')))).code, 'bad_encoding');
    assert.equal((await refusalOf(read(Buffer.from(`\ufeff${text}`, 'utf16le')))).code, 'bad_encoding');
  });

  it('may fill two columns from one field, where a value counts as known at its event time', async () => {
    const twice = viewOf({
      source: { dataset: 'w', event_timestamp: 'hour', created_timestamp: 'hour', columns: { temp: 'note' } },
      features: { temp: 'string', note: 'string' },
    });
    const { rows } = await read(`origin,note,hour\nJFK,x,${at}\n`, twice);
    assert.deepEqual(rows, [{ origin: 'JFK', temp: 'x', note: 'x', event_timestamp: at, created_timestamp: at }]);
    // Under its own name it is itself.
    const own = await read(`origin,note,temp,hour\nJFK,x,y,${at}\n`, twice);
    assert.deepEqual(own.rows[0]?.['temp'], 'y');
  });

  it('go by the names and the zone of the source of their view', async () => {
    const mapped = viewOf({
      source: {
        dataset: 'weather',
        event_timestamp: 'time_hour',
        timezone: 'America/New_York',
        columns: { temp: 'Temperature (F)' },
      },
      features: { temp: 'float64', note: 'string' },
    });
    const { rows, problems } = await read(
      'origin,Temperature (F),time_hour\nJFK,39,2013-07-01 05:00:00\nJFK,1,2013-11-03 01:30\n',
      mapped,
    );
    assert.deepEqual(rows, [{ origin: 'JFK', temp: '39', event_timestamp: '2013-07-01T09:00:00Z' }]);
    assert.deepEqual(
      problems.map(({ row, code }) => [row, code]),
      [[1, 'ambiguous_time']],
    );
    // A pusher may use the view's own names as well, but not both for one column.
    assert.equal((await read(`origin,temp,event_timestamp\nJFK,39,${at}\n`, mapped)).rows.length, 1);
    const both = await refusalOf(read(`origin,event_timestamp,time_hour\n`, mapped));
    assert.match(both.detail, /both event_timestamp and time_hour/);
    assert.match((await refusalOf(read(`origin,temp\n`, mapped))).detail, /time_hour by the view's source/);
  });
});
