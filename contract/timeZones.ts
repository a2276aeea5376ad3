// Local times of an IANA zone → UTC, by the time-zone data that the JavaScript engine carries.
import { secondsPerDay } from './calendar';

type Zone = { format: Intl.DateTimeFormat; offsetOfDay: Map<number, number> };
const zones = new Map<string, Zone>();

function zoneNamed(name: string): Zone {
  let zone = zones.get(name);
  if (!zone) {
    zone = {
      format: new Intl.DateTimeFormat('en-US', { timeZone: name, timeZoneName: 'longOffset' }),
      offsetOfDay: new Map(),
    };
    zones.set(name, zone);
  }
  return zone;
}

/** What is expected of a zone's name that is none; undefined for a good one. */
export function timeZoneProblem(name: string): string | undefined {
  try {
    if (/^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/.test(name)) {
      zoneNamed(name);
      return undefined;
    }
  } catch {
    // Intl knows no such zone.
  }
  return 'UTC or an IANA time zone such as Europe/Paris';
}

/** Seconds east of UTC at an instant, given in seconds since 1970. */
function offsetAt(zone: Zone, utc: number): number {
  const text = zone.format.format(utc * 1_000);
  const match = /GMT(?:([+-])(\d{2}):(\d{2})(?::(\d{2}))?)?$/.exec(text);
  if (!match) throw new Error(`No offset in ${text}`);
  const [, sign, hours = '0', minutes = '0', seconds = '0'] = match;
  return (sign === '-' ? -1 : 1) * (Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds));
}

function offsetOfDay(zone: Zone, day: number): number {
  let offset = zone.offsetOfDay.get(day);
  if (offset === undefined) {
    if (zone.offsetOfDay.size >= 50_000) zone.offsetOfDay.clear();
    offset = offsetAt(zone, day * secondsPerDay);
    zone.offsetOfDay.set(day, offset);
  }
  return offset;
}

/**
 * A local time, in seconds since 1970 as if it were UTC, to UTC seconds; or why there is not exactly one: a clock put forward `skipped` it,
 * or one put back showed it twice. Throws a RangeError for an unknown zone.
 */
export function localToUtc(zoneName: string, local: number): number | 'skipped' | 'ambiguous' {
  if (zoneName === 'UTC') return local;
  const zone = zoneNamed(zoneName);
  // No zone is a day away from UTC, so the offsets on both sides of the local day are all that can apply.
  const day = Math.floor(local / secondsPerDay);
  const before = offsetOfDay(zone, day - 1);
  const after = offsetOfDay(zone, day + 2);
  if (before === after) return local - before;
  const instants = [local - before, local - after].filter((utc) => offsetAt(zone, utc) === local - utc);
  if (instants.length === 2) return 'ambiguous';
  return instants[0] ?? 'skipped';
}
