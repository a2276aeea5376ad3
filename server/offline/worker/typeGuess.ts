import { CellError, cellFromText } from '../../../contract/cells';
import { float64Keeps } from '../../../contract/numberText';
import { parseValueType } from '../../../contract/valueTypes';

/** What a column of texts seems to be, and why. */
export interface GuessedType {
  type: string;
  reason: string;
}

const HIGH = 2n ** 63n - 1n;
const LOW = -(2n ** 63n);
const TIME = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(Z|[+-]\d\d(?::\d\d)?)?$/;
const timestamp = parseValueType('timestamp');

/** Each form that a text may have, narrowest first; a test answers undefined when it fits, else what is in the way. */
const forms: readonly { type: string; words: string; trouble(text: string): string | undefined }[] = [
  {
    type: 'bool',
    words: 'every value is true or false',
    trouble: (text) => (/^(?:true|false)$/i.test(text) ? undefined : 'is no truth value'),
  },
  { type: 'int64', words: 'every value is a whole number', trouble: integerTrouble },
  { type: 'float64', words: 'every value is a number', trouble: floatTrouble },
  {
    type: 'date',
    words: 'every value is a day',
    trouble: (text) => (fits('date', text) ? undefined : 'is no day'),
  },
  { type: 'timestamp', words: 'every value is a time with its zone', trouble: timeTrouble },
  {
    type: 'uuid',
    words: 'every value is a UUID',
    trouble: (text) => (/^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(text) ? undefined : 'is no UUID'),
  },
];

/** Guesses a column's type from every one of its values, so that one odd row at the end can't be cut to fit. */
export class TypeGuess {
  private left = [...forms];
  private last = { text: '', trouble: '', row: 0 };
  private seen = 0;

  /** `row` counts from 0. */
  see(text: string, row: number): void {
    this.seen++;
    let said: string | undefined;
    for (let at = 0; at < this.left.length;) {
      const trouble = this.left[at]?.trouble(text);
      if (trouble === undefined) at++;
      else {
        this.left.splice(at, 1);
        // A near miss says more than "is no …", and that of the wider type more than that of the narrower.
        if (said === undefined || !trouble.startsWith('is no ')) said = trouble;
      }
    }
    if (said !== undefined) this.last = { text, trouble: said, row };
  }

  guess(): GuessedType {
    const [form] = this.left;
    if (this.seen === 0) return { type: 'string', reason: 'has no value to tell its type by' };
    if (form) return { type: form.type, reason: form.words };
    const { text, trouble, row } = this.last;
    return { type: 'string', reason: `text: ${JSON.stringify(cut(text))} (row ${row + 1}) ${trouble}` };
  }
}

function integerTrouble(text: string): string | undefined {
  if (!/^-?\d+$/.test(text)) return 'is no whole number';
  if (/^-?0\d/.test(text)) return 'has a leading zero, which a number would lose';
  if (text === '-0') return 'is minus zero, which a whole number would lose';
  if (text.length < 16) return undefined;
  const value = BigInt(text);
  return value < LOW || value > HIGH ? 'is beyond int64' : undefined;
}

function floatTrouble(text: string): string | undefined {
  if (/^(?:NaN|[+-]?Infinity|[+-]?inf)$/i.test(text)) return undefined;
  if (!/^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text)) return 'is no number';
  if (/^-?0\d/.test(text)) return 'has a leading zero, which a number would lose';
  const value = Number(text);
  if (!Number.isFinite(value)) return 'is beyond float64';
  if (text.length > 15 && /^-?\d+$/.test(text) && !float64Keeps(BigInt(text))) {
    return 'has more digits than float64 keeps';
  }
  return undefined;
}

function timeTrouble(text: string): string | undefined {
  const match = TIME.exec(text);
  if (!match) return 'is no time such as 2013-01-31T05:00:00Z';
  if (match[1] === undefined)
    return 'is a time without a zone; write Z or an offset such as +02:00 to make it a timestamp';
  try {
    cellFromText(timestamp, text);
    return undefined;
  } catch (error) {
    if (!(error instanceof CellError)) throw error;
    return error.code === 'too_precise' ? 'is a time finer than microseconds' : 'is not a valid time';
  }
}

function fits(type: string, text: string): boolean {
  if (text.length !== 10) return false;
  try {
    return cellFromText(parseValueType(type), text) !== null;
  } catch (error) {
    if (error instanceof CellError) return false;
    throw error;
  }
}

function cut(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
