import assert from 'node:assert/strict';
import fc from 'fast-check';
import { daysFromCivil, formatDay } from '../../../contract/calendar';
import {
  cellFromJson,
  cellFromText,
  type CellErrorCode,
  type CellOptions,
  compareCells,
  dateDays,
  dateFromDays,
  shiftTimestamp,
  timestampFromMicros,
  timestampMicros,
} from '../../../contract/cells';
import { localToUtc, timeZoneProblem } from '../../../contract/timeZones';

const timestamp = { kind: 'timestamp' } as const;
const first = new Date('0001-01-01T00:00:00Z');
const last = new Date('9999-12-31T23:59:59.999Z');
const instants = fc.bigInt({ min: BigInt(first.getTime()) * 1_000n, max: BigInt(last.getTime()) * 1_000n + 999n });

describe('timestamps', () => {
  it('agree with Date on whole milliseconds', () => {
    fc.assert(
      fc.property(fc.date({ min: first, max: last, noInvalidDate: true }), (date) => {
        const cell = cellFromJson(timestamp, date.toISOString()) ?? '';
        assert.equal(timestampMicros(cell), BigInt(date.getTime()) * 1_000n);
        assert.equal(timestampFromMicros(BigInt(date.getTime()) * 1_000n), cell);
      }),
      { numRuns: 1_000 },
    );
  });

  it('keep every microsecond, and their order', () => {
    fc.assert(
      fc.property(instants, instants, (a, b) => {
        const [one, two] = [timestampFromMicros(a), timestampFromMicros(b)];
        assert.equal(timestampMicros(one), a);
        assert.equal(cellFromJson(timestamp, one), one);
        assert.equal(Math.sign(compareCells(timestamp, one, two)), a < b ? -1 : a > b ? 1 : 0);
        assert.equal(shiftTimestamp(one, b - a), two);
      }),
      { numRuns: 1_000 },
    );
  });

  it('are the same instant whatever offset they are written with', () => {
    const offsets = fc.tuple(fc.constantFrom('+', '-'), fc.nat(15), fc.nat(59));
    fc.assert(
      fc.property(instants, offsets, fc.constantFrom('T', 't', ' '), (micros, [sign, hours, minutes], separator) => {
        const east = BigInt((sign === '-' ? -1 : 1) * (hours * 60 + minutes)) * 60_000_000n;
        fc.pre(micros + east >= BigInt(first.getTime()) * 1_000n && micros + east <= BigInt(last.getTime()) * 1_000n);
        const local = timestampFromMicros(micros + east)
          .replace('T', separator)
          .slice(0, -1);
        const offset = `${sign}${String(hours).padStart(2, '0')}:${String(minutes).padStart(2, '0')}`;
        assert.equal(cellFromJson(timestamp, local + offset), timestampFromMicros(micros));
      }),
      { numRuns: 1_000 },
    );
  });

  it('count every day from 0001 to 9999 once, in order', () => {
    let day = daysFromCivil(1, 1, 1);
    for (let year = 1; year <= 9999; year += year % 400 === 5 ? 89 : 1) {
      day = daysFromCivil(year, 1, 1);
      for (let ordinal = 0; ordinal < 365; ordinal += 28) {
        const text = new Date((day + ordinal) * 86_400_000).toISOString().slice(0, 10);
        assert.equal(formatDay(day + ordinal), text);
        assert.equal(dateDays(text), day + ordinal);
      }
    }
    assert.equal(dateFromDays(dateDays('0001-01-01')), '0001-01-01');
    assert.equal(dateFromDays(dateDays('9999-12-31')), '9999-12-31');
    assert.throws(() => dateFromDays(dateDays('9999-12-31') + 1), { code: 'out_of_range' });
  });

  const read: [text: string, cell: string, options?: CellOptions][] = [
    ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00Z'],
    ['9999-12-31T23:59:59.999999Z', '9999-12-31T23:59:59.999999Z'],
    ['2013-01-01T05:00:00.1Z', '2013-01-01T05:00:00.100000Z'],
    ['2013-01-01T05:00:00.000000Z', '2013-01-01T05:00:00Z'],
    ['2013-01-01T05:00:00.123456000Z', '2013-01-01T05:00:00.123456Z'],
    ['2013-01-01 05:00:00+00', '2013-01-01T05:00:00Z'],
    ['2013-01-01 05:00:00 UTC', '2013-01-01T05:00:00Z'],
    ['2013-01-01T05:00Z', '2013-01-01T05:00:00Z'],
    ['2013-01-01T05:00:00-05:30', '2013-01-01T10:30:00Z'],
    ['2013-01-01T05:00:00+0530', '2012-12-31T23:30:00Z'],
    ['1850-01-01T00:00:00-04:56:02', '1850-01-01T04:56:02Z'],
    ['1969-12-31T23:59:59.9999995Z', '1970-01-01T00:00:00Z', { roundTimes: true }],
    ['2013-01-01T05:00:00.00000049Z', '2013-01-01T05:00:00Z', { roundTimes: true }],
    ['2013-01-01 05:00:00', '2013-01-01T05:00:00Z', { timezone: 'UTC' }],
    ['2013-01-01', '2013-01-01T00:00:00Z', { timezone: 'UTC' }],
    ['2013-01-01T05:00', '2013-01-01T10:00:00Z', { timezone: 'America/New_York' }],
    ['2013-07-01T05:00:00', '2013-07-01T09:00:00Z', { timezone: 'America/New_York' }],
    ['2013-07-01T05:00:00Z', '2013-07-01T05:00:00Z', { timezone: 'America/New_York' }],
    ['0050-01-01T00:00:00', '0050-01-01T04:56:02Z', { timezone: 'America/New_York' }],
  ];
  for (const [text, cell, options] of read) {
    it(`read ${text}${options ? ` with ${JSON.stringify(options)}` : ''}`, () => {
      assert.equal(cellFromText(timestamp, text, options), cell);
    });
  }

  const refused: [text: string, code: CellErrorCode, options?: CellOptions][] = [
    ['2013-01-01T05:00:00', 'no_zone'],
    ['2013-01-01', 'no_zone'],
    ['2013-01-01T05:00:00.1234567Z', 'too_precise'],
    ['2013-01-01T05:00:00.0000001Z', 'too_precise'],
    ['0000-12-31T23:59:59Z', 'out_of_range'],
    ['0001-01-01T00:00:00+00:01', 'out_of_range'],
    ['9999-12-31T23:59:59-00:01', 'out_of_range'],
    ['9999-12-31T23:59:59.9999995Z', 'out_of_range', { roundTimes: true }],
    ['2013-02-29T00:00:00Z', 'out_of_range'],
    ['2013-13-01T00:00:00Z', 'out_of_range'],
    ['2013-01-01T24:00:00Z', 'out_of_range'],
    ['2013-01-01T23:60:00Z', 'out_of_range'],
    ['2016-12-31T23:59:60Z', 'out_of_range'],
    ['2013-01-01T00:00:00+16:00', 'out_of_range'],
    ['10000-01-01T00:00:00Z', 'wrong_type'],
    ['2013-01-01T5:00:00Z', 'wrong_type'],
    ['2013-01-01T05:00:00 EST', 'wrong_type'],
    ['01/02/2013 05:00', 'wrong_type'],
    ['1357016400', 'wrong_type'],
    ['infinity', 'wrong_type'],
    ['2013-01-01T05:00:00Z\u0000', 'wrong_type'],
    ['٢٠١٣-01-01T05:00:00Z', 'wrong_type'],
    ['', 'wrong_type'],
  ];
  for (const [text, code, options] of refused) {
    it(`refuse ${JSON.stringify(text)}`, () => {
      assert.throws(() => cellFromText(timestamp, text, options), { name: 'CellError', code });
    });
  }

  it('refuse to be shifted out of their range', () => {
    assert.throws(() => shiftTimestamp('9999-12-31T23:59:59.999999Z', 1n), { code: 'out_of_range' });
    assert.throws(() => shiftTimestamp('0001-01-01T00:00:00Z', -1n), { code: 'out_of_range' });
  });
});

describe('local times', () => {
  const inZone = (text: string, timezone: string): string | null => cellFromText(timestamp, text, { timezone });

  it('that clocks put forward skipped are refused, naming the zone', () => {
    const skipped = { name: 'CellError', code: 'skipped_time', message: /exists in America\/New_York/ };
    assert.throws(() => inZone('2013-03-10 02:30:00', 'America/New_York'), skipped);
    assert.equal(inZone('2013-03-10 01:59:59', 'America/New_York'), '2013-03-10T06:59:59Z');
    assert.equal(inZone('2013-03-10 03:00:00', 'America/New_York'), '2013-03-10T07:00:00Z');
    assert.throws(() => inZone('2011-12-30 12:00:00', 'Pacific/Apia'), { code: 'skipped_time' });
    assert.equal(inZone('2011-12-31 00:00:00', 'Pacific/Apia'), '2011-12-30T10:00:00Z');
  });

  it('that clocks put back showed twice are refused, naming the zone', () => {
    const twice = { name: 'CellError', code: 'ambiguous_time', message: /America\/New_York had this time twice/ };
    assert.throws(() => inZone('2013-11-03 01:30:00', 'America/New_York'), twice);
    assert.equal(inZone('2013-11-03 00:59:59', 'America/New_York'), '2013-11-03T04:59:59Z');
    assert.equal(inZone('2013-11-03 02:00:00', 'America/New_York'), '2013-11-03T07:00:00Z');
    assert.throws(() => inZone('2013-04-07 01:45:00', 'Australia/Lord_Howe'), { code: 'ambiguous_time' });
  });

  it('are the instants at which a clock there shows them', () => {
    const zone = fc.constantFrom(...Intl.supportedValuesOf('timeZone'));
    const seconds = fc.integer({ min: -5_000_000_000, max: 5_000_000_000 });
    fc.assert(
      fc.property(zone, seconds, (name, utc) => {
        const local = clock(name, utc);
        const found = localToUtc(name, local);
        assert.notEqual(found, 'skipped');
        if (found !== 'ambiguous') assert.equal(found, utc);
      }),
      { numRuns: 1_000 },
    );
  }).timeout(120_000);

  /** What a clock shows, in seconds since 1970 as if it were UTC, by the fields that Intl formats. */
  function clock(timeZone: string, utc: number): number {
    const format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
    const parts = new Map(format.formatToParts(utc * 1_000).map(({ type, value }) => [type as string, Number(value)]));
    const field = (name: string): number => parts.get(name) ?? 0;
    const day = Date.UTC(field('year'), field('month') - 1, field('day')) / 1_000;
    return day + field('hour') * 3_600 + field('minute') * 60 + field('second');
  }

  it('need a zone that exists', () => {
    for (const zone of ['UTC', 'Europe/Paris', 'Etc/GMT+5', 'America/Argentina/Buenos_Aires']) {
      assert.equal(timeZoneProblem(zone), undefined);
    }
    for (const zone of [
      '',
      'Mars/Olympus',
      '+02:00',
      '../etc/passwd',
      'Europe/Paris\n',
      '__proto__',
      'x'.repeat(100),
    ]) {
      assert.match(timeZoneProblem(zone) ?? '', /UTC or an IANA time zone/);
    }
  });
});
