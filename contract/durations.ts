// Durations as definitions write them: a whole number and one unit, `30m`.
import { FormError } from './formError';

const secondsPerUnit = { d: 86_400, h: 3_600, m: 60, s: 1 };
type Unit = keyof typeof secondsPerUnit;

/** 10,000 years of 365.25 days: longer than the range of our timestamps. */
export const maxDurationSeconds = 10_000 * 365.25 * 86_400;

/** `'30m'` → 1800 seconds. `0s` is allowed: for a ttl it means "for ever". Throws a FormError. */
export function parseDuration(text: string): number {
  const match = /^(0|[1-9]\d*)([smhd])$/.exec(text);
  if (!match) throw new FormError('duration', text, `a whole number and s, m, h or d, such as 30m${hint(text)}`);
  const seconds = Number(match[1]) * secondsPerUnit[match[2] as Unit];
  if (seconds > maxDurationSeconds) throw new FormError('duration', text, 'at most 10,000 years (3652500d)');
  return seconds;
}

/** Ways that people write durations elsewhere: a bare number, a longer unit, a space, weeks. */
function hint(text: string): string {
  const match = /^\s*(\d{1,12})\s*([a-z]*)\s*$/i.exec(text);
  if (!match) return '';
  const count = Number(match[1]);
  const word = (match[2] ?? '').toLowerCase();
  const weeks = /^w(eeks?)?$/.test(word);
  const unit = weeks
    ? 'd'
    : /^(s|secs?|seconds?|)$/.test(word)
      ? 's'
      : /^(m|mins?|minutes?)$/.test(word)
        ? 'm'
        : /^(h|hrs?|hours?)$/.test(word)
          ? 'h'
          : /^d(ays?)?$/.test(word)
            ? 'd'
            : undefined;
  return unit ? `. Did you mean ${weeks ? count * 7 : count}${unit}?` : '';
}

/** Seconds → the largest unit that divides them: 3600 → `1h`, 90 → `90s`, 0 → `0s`. */
export function formatDuration(seconds: number): string {
  if (!Number.isSafeInteger(seconds) || seconds < 0) throw new RangeError(`Not a whole number of seconds: ${seconds}`);
  if (seconds === 0) return '0s';
  for (const [unit, size] of Object.entries(secondsPerUnit)) {
    if (seconds % size === 0) return `${seconds / size}${unit}`;
  }
  throw new Error('unreachable: 1 divides every whole number');
}
