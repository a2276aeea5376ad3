import assert from 'node:assert/strict';
import { workerPlan } from '../../../server/online/decode/sourceMapping';
import { workerRows } from '../../../server/online/decode/workerRows';
import { decode, inPieces, refusalOf, viewOf } from './decoding';

const view = viewOf({
  source: { dataset: 'weather', event_timestamp: 'time_hour', timezone: 'UTC', columns: { temp: 'temperature' } },
  features: { temp: 'float64', wind: 'int64' },
});

describe('columns of a file that the worker reads', () => {
  it('are found by the names of the source of the view; a dataset may have more', () => {
    assert.deepEqual(workerPlan(view, ['time_hour', 'origin', 'temperature', 'year'], 'dataset'), {
      names: ['origin', 'temp', 'event_timestamp'],
      columns: [
        { name: 'origin', type: 'string', timezone: 'UTC' },
        { name: 'temperature', type: 'float64', timezone: 'UTC' },
        { name: 'time_hour', type: 'timestamp', timezone: 'UTC' },
      ],
    });
  });

  it('are found by their own names as well', () => {
    assert.deepEqual(
      workerPlan(view, ['origin', 'temp', 'wind', 'event_timestamp', 'created_timestamp'], 'upload').names,
      ['origin', 'temp', 'wind', 'event_timestamp', 'created_timestamp'],
    );
  });

  it('may serve twice, where a value counts as known at its event time', () => {
    const twice = viewOf({
      source: { dataset: 'weather', event_timestamp: 'time_hour', created_timestamp: 'time_hour' },
      features: { temp: 'float64' },
    });
    assert.deepEqual(workerPlan(twice, ['origin', 'temp', 'time_hour'], 'upload').columns, [
      { name: 'origin', type: 'string' },
      { name: 'temp', type: 'float64' },
      { name: 'time_hour', type: 'timestamp' },
      { name: 'time_hour', type: 'timestamp' },
    ]);
  });

  it('are refused, all at once, where one is unknown to the view or missing', async () => {
    const upload = await refusalOf(() => workerPlan(view, ['origin', 'winds'], 'upload'));
    assert.deepEqual(
      upload.problems.map(({ field, code }) => [field, code]),
      [
        ['event_timestamp', 'missing_column'],
        ['winds', 'unknown_column'],
      ],
    );
    // The view says where temp comes from; a dataset without it is the wrong one.
    const dataset = await refusalOf(() => workerPlan(view, ['origin', 'time_hour', 'winds'], 'dataset'));
    assert.deepEqual(
      dataset.problems.map(({ field, code }) => [field, code]),
      [['temp', 'missing_column']],
    );
  });
});

describe("the worker's rows", () => {
  const plan = workerPlan(view, ['origin', 'wind', 'time_hour'], 'upload');
  const lines = [
    ['JFK', '5', '2024-01-01T00:00:00Z'],
    ['LGA', null, '2024-01-01T00:00:00Z'],
    { problems: [{ field: 'wind', code: 'wrong_type', found: 'x', expected: 'a whole number' }] },
    [null, '5', null],
  ];
  const file = inPieces(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));

  it('are cells already; rows that did not fit come as their problems', async () => {
    const decoded = await decode(view, workerRows(file, plan));
    assert.deepEqual(decoded.rows, [
      { origin: 'JFK', wind: '5', event_timestamp: '2024-01-01T00:00:00Z' },
      { origin: 'LGA', event_timestamp: '2024-01-01T00:00:00Z' },
    ]);
    assert.deepEqual(
      decoded.problems.map(({ row, field, code }) => [row, field, code]),
      [
        [2, 'wind', 'wrong_type'],
        [3, 'origin', 'missing_value'],
        [3, 'event_timestamp', 'missing_value'],
      ],
    );
    assert.equal(decoded.bad.badRows, 2);
  });

  it('are refused when the view has other columns by now', async () => {
    const changed = viewOf({ features: { temp: 'float64', wind: 'float32' } });
    assert.equal((await refusalOf(decode(changed, workerRows(file, plan)))).code, 'view_changed');
  });
});
