import { printJson } from '../contract/json';

/** What a command says: text for people, or with `--json` one JSON document and nothing else on standard output. */
export class Output {
  private progressShown = false;

  constructor(readonly json: boolean) {}

  /** The command's result: `value` under --json, else `lines`. */
  result(value: unknown, lines: readonly string[]): void {
    this.clearProgress();
    process.stdout.write(this.json ? `${printJson(value)}\n` : lines.map((text) => `${text}\n`).join(''));
  }

  /** A line on the way to the result; people only. */
  line(text: string): void {
    this.clearProgress();
    if (!this.json) process.stdout.write(`${text}\n`);
  }

  note(text: string): void {
    this.clearProgress();
    process.stderr.write(`${text}\n`);
  }

  /** Overwrites itself on a terminal; elsewhere nothing is said. */
  progress(text: string): void {
    if (this.json || !process.stderr.isTTY) return;
    const width = (process.stderr.columns || 80) - 1;
    process.stderr.write(`\r\x1b[K${printable(text).slice(0, width)}`);
    this.progressShown = true;
  }

  private clearProgress(): void {
    if (this.progressShown) process.stderr.write('\r\x1b[K');
    this.progressShown = false;
  }
}

/** Columns as wide as their widest cell; numbers to the right. */
export function table(headings: readonly string[], rows: readonly (readonly unknown[])[]): string[] {
  const texts = rows.map((row) => row.map(cellText));
  const numeric = headings.map(
    (_, at) => rows.length > 0 && rows.every((row) => ['number', 'bigint'].includes(typeof row[at])),
  );
  const widths = headings.map((heading, at) => Math.max(heading.length, ...texts.map((row) => row[at]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, at) => (numeric[at] ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0)))
      .join('  ')
      .trimEnd();
  return [line(headings), ...texts.map(line)];
}

const WIDEST_CELL = 80;

function cellText(value: unknown): string {
  if (value === null || value === undefined) return '–';
  const text = typeof value === 'string' ? value : printJson(value);
  const clean = printable(text);
  return clean.length > WIDEST_CELL ? `${clean.slice(0, WIDEST_CELL - 1)}…` : clean;
}

/** Names and descriptions come from others: no control character of theirs reaches the terminal. */
export function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\ufffd');
}

export function count(number: number | bigint, one: string, many = `${one}s`): string {
  return `${number.toLocaleString('en-US')} ${number === 1 || number === 1n ? one : many}`;
}
