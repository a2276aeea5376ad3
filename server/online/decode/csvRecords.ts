import { LoftError } from '../../../contract/errors';
import { MAX_ROW_BYTES } from './rowSource';

/** A record's fields, and the line it begins on, from 1. A field that is empty without quotes is null. */
export interface CsvRecord {
  fields: (string | null)[];
  line: number;
}

/**
 * RFC 4180 as a stream: commas, double quotes doubled inside a quoted field, lines ended by LF or CRLF; blank lines are
 * skipped. Ours rather than a library's, because it must tell `""` from nothing, name lines, and be quick. Throws
 * LoftError 422 `bad_csv` for misplaced quotes and for a record beyond `MAX_ROW_BYTES`.
 */
export async function* csvRecords(pieces: AsyncIterable<string>): AsyncGenerator<CsvRecord[], void> {
  const reader = new RecordReader();
  for await (const piece of pieces) {
    const records = reader.read(piece);
    if (records.length > 0) yield records;
  }
  const last = reader.end();
  if (last !== undefined) yield [last];
}

class RecordReader {
  /** What came and is no whole record yet. */
  private rest = '';
  /** How much of `rest` is known to hold no end of a record: the next look begins there. */
  private scanned = 0;
  private insideQuotes = false;
  private line = 1;

  read(piece: string): CsvRecord[] {
    const text = this.rest + piece;
    const records: CsvRecord[] = [];
    let start = 0;
    for (let end = this.findEnd(text); end !== -1; end = this.findEnd(text)) {
      const record = this.record(text, start, end);
      if (record !== undefined) records.push(record);
      start = end + 1;
    }
    this.rest = text.slice(start);
    this.scanned -= start;
    if (this.rest.length > MAX_ROW_BYTES) {
      throw bad(this.line, `a row has more than ${MAX_ROW_BYTES} characters; perhaps a quote was never closed`);
    }
    return records;
  }

  end(): CsvRecord | undefined {
    // With a quote left open this throws, and says whether it was never closed or stands where it may not.
    return this.record(this.rest, 0, this.rest.length);
  }

  /** The next line's end outside quotes; -1 when there is none yet. Quotes that open and close need no telling apart here. */
  private findEnd(text: string): number {
    let at = this.scanned;
    for (;;) {
      const quote = text.indexOf('"', at);
      if (!this.insideQuotes) {
        const end = text.indexOf('\n', at);
        if (end !== -1 && (quote === -1 || end < quote)) {
          this.scanned = end + 1;
          return end;
        }
      }
      if (quote === -1) {
        this.scanned = text.length;
        return -1;
      }
      this.insideQuotes = !this.insideQuotes;
      at = quote + 1;
    }
  }

  private record(text: string, start: number, end: number): CsvRecord | undefined {
    const { line } = this;
    const stop = text.charCodeAt(end - 1) === 0x0d && end > start ? end - 1 : end;
    const whole = text.slice(start, stop);
    this.line++;
    if (whole === '') return undefined;
    if (!whole.includes('"')) {
      const fields: (string | null)[] = whole.split(',');
      for (let at = 0; at < fields.length; at++) if (fields[at] === '') fields[at] = null;
      return { fields, line };
    }
    for (let at = whole.indexOf('\n'); at !== -1; at = whole.indexOf('\n', at + 1)) this.line++;
    return { fields: quotedFields(whole, line), line };
  }
}

/** The fields of a record that has quotes somewhere. */
function quotedFields(text: string, line: number): (string | null)[] {
  const fields: (string | null)[] = [];
  let at = 0;
  for (;;) {
    if (text[at] === '"') {
      const close = closingQuote(text, at + 1, line);
      const inner = text.slice(at + 1, close);
      fields.push(inner.includes('"') ? inner.replaceAll('""', '"') : inner);
      at = close + 1;
      if (at < text.length && text[at] !== ',') {
        throw bad(line, 'after a closing quote comes a comma or the line’s end; quotes inside a field are doubled');
      }
    } else {
      const comma = text.indexOf(',', at);
      const field = text.slice(at, comma === -1 ? text.length : comma);
      if (field.includes('"')) {
        throw bad(
          line,
          'a quote stands in the middle of a field; such a field is quoted as a whole, its quotes doubled',
        );
      }
      fields.push(field === '' ? null : field);
      at += field.length;
    }
    if (at >= text.length) return fields;
    at++; // the comma
  }
}

function closingQuote(text: string, from: number, line: number): number {
  for (let at = text.indexOf('"', from); at !== -1; at = text.indexOf('"', at + 2)) {
    if (text[at + 1] !== '"') return at;
  }
  throw bad(line, 'a quoted field has no closing quote');
}

function bad(line: number, what: string): LoftError {
  return new LoftError(422, 'bad_csv', `Bad CSV in the row that begins on line ${line}: ${what}.`, {
    problems: [{ code: 'bad_csv', found: `line ${line}`, expected: `CSV as RFC 4180 has it: ${what}` }],
  });
}
