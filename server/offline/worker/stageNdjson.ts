import { createReadStream, createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { TextDecoder } from 'node:util';
import { CellError, cellFromJson, type Cell } from '../../../contract/cells';
import { LoftError, MAX_PROBLEMS, type Problem } from '../../../contract/errors';
import { JsonError, JsonNumber, own, parseJson, type JsonObject, type JsonValue } from '../../../contract/json';
import { parseValueType, type ValueType } from '../../../contract/valueTypes';
import { quoteText } from './lake';
import { fromCell } from './lakeTypes';
import { tryAs } from './stageCsv';
import { checkColumnNames, refused, type Staged } from './staged';
import { TypeGuess, type GuessedType } from './typeGuess';

const LONGEST_LINE = 33_554_432;

/**
 * JSON lines: an object a line, whose members are the columns; one that is absent is null. Read twice: once for columns and types,
 * once to write cells beside the file (`<file>.cells`), which DuckDB reads.
 */
export async function stageNdjson(file: string): Promise<Staged> {
  const guesses = await guessColumns(file);
  if (guesses.size === 0) {
    throw new LoftError(422, 'empty_file', 'The file holds no row. JSON lines are one object a line, such as {"a":1}.');
  }
  checkColumnNames([...guesses.keys()]);
  const columns = [...guesses].map(([name, guess]) => ({ name, ...guess.guess() }));
  const cells = `${file}.cells`;
  await writeCells(
    file,
    cells,
    columns.map((column) => ({ name: column.name, type: parseValueType(column.type) })),
  );
  return {
    relation: `read_json(${quoteText(cells)}, format = 'newline_delimited', records = false, columns = {cells: 'VARCHAR[]'}, maximum_object_size = ${2 * LONGEST_LINE})`,
    columns: columns.map(({ name, type, reason }, index) => {
      const cell = `cells[${index + 1}]`;
      return {
        name,
        type,
        reason,
        sql: fromCell(parseValueType(type), cell),
        tryAs: (wanted) => tryAs(wanted, cell),
        text: cell,
      };
    }),
  };
}

async function guessColumns(file: string): Promise<Map<string, JsonGuess>> {
  const guesses = new Map<string, JsonGuess>();
  for await (const { object, row } of objects(file)) {
    for (const name of Object.keys(object)) {
      let guess = guesses.get(name);
      if (!guess) guesses.set(name, (guess = new JsonGuess()));
      guess.see(own(object, name) ?? null, row);
    }
  }
  return guesses;
}

/** A column's type by its JSON values: numbers stay numbers, texts may be times, days or UUIDs. */
class JsonGuess {
  private readonly kinds = new Set<'bool' | 'number' | 'not finite' | 'text' | 'list' | 'nested'>();
  private readonly numbers = new TypeGuess();
  private readonly texts = new TypeGuess();
  private readonly elements = { kinds: new Set<string>(), numbers: new TypeGuess() };

  see(value: JsonValue, row: number): void {
    if (value === null) return;
    if (typeof value === 'boolean') this.kinds.add('bool');
    else if (isNumber(value)) {
      this.kinds.add('number');
      this.numbers.see(numberText(value), row);
    } else if (typeof value === 'string') {
      this.kinds.add(/^(?:NaN|-?Infinity)$/.test(value) ? 'not finite' : 'text');
      this.texts.see(value, row);
    } else if (Array.isArray(value)) {
      this.kinds.add('list');
      this.seeElements(value, row);
    } else this.kinds.add('nested');
  }

  private seeElements(values: JsonValue[], row: number): void {
    for (const value of values) {
      if (value === null) continue;
      this.elements.kinds.add(isNumber(value) ? 'number' : typeof value);
      if (isNumber(value)) this.elements.numbers.see(numberText(value), row);
    }
  }

  guess(): GuessedType {
    // JSON has no NaN and no infinities: beside numbers these texts are numbers, else texts like any.
    if (this.kinds.delete('not finite')) {
      if (this.kinds.size === 1 && this.kinds.has('number')) return floatType(this.numbers);
      this.kinds.add('text');
    }
    const [kind] = this.kinds;
    if (kind === undefined) return { type: 'string', reason: 'has no value to tell its type by' };
    if (this.kinds.size > 1) {
      return { type: 'json', reason: `holds values of several kinds (${[...this.kinds].join(', ')})` };
    }
    switch (kind) {
      case 'not finite':
      case 'text':
        return textType(this.texts);
      case 'bool':
        return { type: 'bool', reason: 'every value is true or false' };
      case 'number':
        return numberType(this.numbers);
      case 'list': {
        const [element] = this.elements.kinds;
        if (this.elements.kinds.size > 1) return { type: 'json', reason: 'lists of several kinds of values' };
        if (element === 'number') {
          const { type, reason } = numberType(this.elements.numbers);
          return { type: `list<${type}>`, reason: `lists: ${reason}` };
        }
        if (element === 'boolean') return { type: 'list<bool>', reason: 'lists of true and false' };
        if (element === 'object') return { type: 'json', reason: 'nested values' };
        return { type: 'list<string>', reason: 'lists of texts' };
      }
      case 'nested':
        return { type: 'json', reason: 'nested values' };
    }
  }
}

function numberType(guess: TypeGuess): GuessedType {
  const { type, reason } = guess.guess();
  if (type === 'int64' || type === 'float64') return { type, reason };
  // Digits that neither type keeps.
  return { type: 'json', reason: reason.replace(/^text: /, 'numbers kept as written: ') };
}

function floatType(guess: TypeGuess): GuessedType {
  const { type, reason } = numberType(guess);
  return type === 'json'
    ? { type, reason }
    : { type: 'float64', reason: 'every value is a number, NaN or an infinity' };
}

function textType(guess: TypeGuess): GuessedType {
  const { type, reason } = guess.guess();
  if (type === 'timestamp' || type === 'date' || type === 'uuid') return { type, reason };
  return { type: 'string', reason: type === 'string' ? reason : 'texts' };
}

function isNumber(value: JsonValue): value is number | bigint | JsonNumber {
  return typeof value === 'number' || typeof value === 'bigint' || value instanceof JsonNumber;
}

function numberText(value: number | bigint | JsonNumber): string {
  return value instanceof JsonNumber ? value.text : Object.is(value, -0) ? '-0.0' : String(value);
}

async function writeCells(file: string, target: string, columns: { name: string; type: ValueType }[]): Promise<void> {
  const problems: Problem[] = [];
  let total = 0;
  const line = ({ object, row }: { object: JsonObject; row: number }): string => {
    const cells = columns.map(({ name, type }): Cell => {
      try {
        return cellFromJson(type, own(object, name) ?? null);
      } catch (error) {
        if (!(error instanceof CellError)) throw error;
        total++;
        if (problems.length < MAX_PROBLEMS) {
          problems.push({ row, field: name, code: error.code, found: error.found, expected: error.expected });
        }
        return null;
      }
    });
    return `${JSON.stringify(cells)}\n`;
  };
  const lines = async function* (): AsyncGenerator<string> {
    for await (const one of objects(file)) yield line(one);
  };
  await pipeline(lines, createWriteStream(target, { flags: 'wx', mode: 0o600 }));
  if (total > 0) throw refused('bad_values', 'The file holds values that can’t be kept', problems, total);
}

/** Each line's object. Throws 422 `bad_ndjson` with every line that is none (the first hundred are listed). */
async function* objects(file: string): AsyncGenerator<{ object: JsonObject; row: number }> {
  const problems: Problem[] = [];
  let row = 0;
  let number = 0;
  for await (const line of linesOf(file)) {
    number++;
    if (line.trim() === '') continue;
    const object = objectOf(line, number, problems);
    if (object && problems.length === 0) yield { object, row };
    row++;
    if (problems.length >= MAX_PROBLEMS) break;
  }
  if (problems.length > 0) throw refused('bad_ndjson', 'The JSON lines can’t be read', problems);
}

function objectOf(line: string, number: number, problems: Problem[]): JsonObject | undefined {
  const path = `line ${number}`;
  try {
    const value = parseJson(line, { verbatim: true });
    if (typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof JsonNumber))
      return value;
    problems.push({ path, code: 'bad_ndjson', found: shortLine(line), expected: 'an object' });
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    problems.push({ path, code: error.code, found: error.message.replace(/\.$/, ''), expected: 'one JSON object' });
  }
  return undefined;
}

/** Lines without their ends. Throws 422 for bytes that are no UTF-8 and for a line without end. */
async function* linesOf(file: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const decode = (bytes?: Buffer): string => {
    try {
      return decoder.decode(bytes, { stream: bytes !== undefined });
    } catch (error) {
      throw new LoftError(422, 'bad_encoding', 'The file is no UTF-8 text.', { cause: error });
    }
  };
  let rest = '';
  for await (const bytes of createReadStream(file) as AsyncIterable<Buffer>) {
    const [first = '', ...others] = decode(bytes).split('\n');
    rest += first;
    const last = others.pop();
    if (last !== undefined) {
      yield rest;
      yield* others;
      rest = last;
    }
    if (rest.length > LONGEST_LINE) throw new LoftError(422, 'long_line', 'A line of the file is longer than 32 MB.');
  }
  rest += decode();
  if (rest !== '') yield rest;
}

function shortLine(line: string): string {
  return line.length > 60 ? `${line.slice(0, 60)}…` : line;
}
