import { open, realpath } from 'node:fs/promises';
import { basename, dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { isMap, isScalar, isSeq, LineCounter, parseDocument, type Document } from 'yaml';
import { readDefinitions } from '../contract/definitions';
import { LoftError, type Problem } from '../contract/errors';

const MAX_FILE_BYTES = 5 * 1024 * 1024;
/** A definition file repeats a block here and there; a bomb does it by the million. */
const MAX_ALIASES = 50;

/** Definitions as their authors wrote them, from one or several files. */
export interface WrittenDefinitions {
  entities: unknown[];
  views: unknown[];
  services: unknown[];
}

/** A view's `source.file`, found on this machine. */
export interface SourceFile {
  view: string;
  /** As written. */
  written: string;
  /** Absolute and real. */
  path: string;
}

interface Item {
  kind: keyof WrittenDefinitions;
  value: unknown;
  file: ParsedFile;
  index: number;
}
interface ParsedFile {
  path: string;
  document: Document;
  lines: LineCounter;
  raw: unknown;
}

/**
 * Reads `*.features.yaml` files as one set of definitions. Throws LoftError 422 `bad_definition` that lists every problem with
 * its file, line and column. `sourceFolder` is where source files are looked for; by default, the folder of each definition
 * file. A definition names files inside that folder only: one from a stranger must not send other files of yours away.
 */
export async function readDefinitionFiles(
  paths: readonly string[],
  sourceFolder?: string,
): Promise<{ definitions: WrittenDefinitions; sources: SourceFile[] }> {
  const problems: Problem[] = [];
  const files: ParsedFile[] = [];
  for (const path of paths) files.push(parse(path, await readLimited(path), problems));
  refuseIfAny(problems);

  const items = files.flatMap((file) => itemsOf(file, problems));
  refuseIfAny(problems);
  const definitions: WrittenDefinitions = { entities: [], views: [], services: [] };
  const placed: Record<keyof WrittenDefinitions, Item[]> = { entities: [], views: [], services: [] };
  for (const item of items) {
    definitions[item.kind].push(item.value);
    placed[item.kind].push(item);
  }
  try {
    readDefinitions(definitions);
  } catch (error) {
    if (!(error instanceof LoftError)) throw error;
    refuseIfAny(error.problems.map((problem) => withPlace(problem, placed)));
    throw error;
  }
  const sources: SourceFile[] = [];
  for (const item of placed.views) {
    const source = await findSource(item, sourceFolder, problems);
    if (source) sources.push(source);
  }
  refuseIfAny(problems);
  return { definitions, sources };
}

async function readLimited(path: string): Promise<string> {
  let handle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    throw new LoftError(400, 'unreadable_file', `${path} could not be read: ${(error as Error).message}.`, {
      cause: error,
    });
  }
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw new LoftError(400, 'unreadable_file', `${path} is not a file.`);
    if (found.size > MAX_FILE_BYTES)
      throw new LoftError(
        413,
        'definition_too_large',
        `${path} has ${found.size} bytes; a definition file has at most ${MAX_FILE_BYTES}.`,
      );
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

function parse(path: string, text: string, problems: Problem[]): ParsedFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { schema: 'core', version: '1.2', uniqueKeys: true, lineCounter: lines });
  for (const error of document.errors) {
    const { line, col } = error.linePos?.[0] ?? { line: 1, col: 1 };
    problems.push({ path: `${path}:${line}:${col}`, code: 'bad_yaml', expected: firstLine(error.message) });
  }
  let raw: unknown;
  if (document.errors.length === 0) {
    try {
      raw = document.toJS({ maxAliasCount: MAX_ALIASES });
    } catch (error) {
      problems.push({ path: `${path}:1:1`, code: 'bad_yaml', expected: firstLine((error as Error).message) });
    }
  }
  return { path, document, lines, raw };
}

function firstLine(text: string): string {
  return (text.split('\n', 1)[0] ?? '').replace(/ at line \d+, column \d+:?$/, '');
}

const kinds = ['entities', 'views', 'services'] as const;

function itemsOf(file: ParsedFile, problems: Problem[]): Item[] {
  const { raw, path } = file;
  if (raw === null || raw === undefined) return [];
  if (typeof raw !== 'object' || Array.isArray(raw)) {
    problems.push({ path: `${path}:1:1`, code: 'bad_definition', expected: 'entities, views and services' });
    return [];
  }
  const items: Item[] = [];
  for (const name of Object.getOwnPropertyNames(raw)) {
    const kind = kinds.find((one) => one === name);
    const value: unknown = Object.getOwnPropertyDescriptor(raw, name)?.value;
    if (kind && Array.isArray(value)) {
      value.forEach((one, index) => items.push({ kind, value: one, file, index }));
    } else if (!kind || value !== null) {
      problems.push({
        path: placeOf(file, [name]),
        code: kind ? 'bad_definition' : 'unknown_property',
        found: kind ? typeof value : JSON.stringify(name),
        expected: kind ? `a list of ${kind}` : 'entities, views or services',
      });
    }
  }
  return items;
}

/** `views.3.features.temp` of the merged definitions → `file:line:column views.1.features.temp`. */
function withPlace(problem: Problem, placed: Record<keyof WrittenDefinitions, Item[]>): Problem {
  const [kind, index, ...rest] = (problem.path ?? '').split('.');
  const item = kinds.find((one) => one === kind) && placed[kind as keyof WrittenDefinitions][Number(index)];
  if (!item) return problem;
  const path = [item.kind, item.index, ...rest];
  return { ...problem, path: `${placeOf(item.file, path)} ${path.join('.')}` };
}

/** `file:line:column` of the deepest part of the path that stands in the file. */
function placeOf({ path, document, lines }: ParsedFile, parts: readonly (string | number)[]): string {
  let node: unknown = document.contents;
  let offset = 0;
  for (const part of parts) {
    const next = childOf(node, part);
    if (!next) break;
    node = next.value;
    offset = next.offset;
  }
  const { line, col } = lines.linePos(offset);
  return `${path}:${line}:${col}`;
}

function childOf(node: unknown, part: string | number): { value: unknown; offset: number } | undefined {
  if (isSeq(node)) {
    const value = node.items[Number(part)];
    return value === undefined ? undefined : { value, offset: offsetOf(value) };
  }
  if (!isMap(node)) return undefined;
  const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(part));
  return pair && { value: pair.value, offset: offsetOf(pair.key) };
}

function offsetOf(node: unknown): number {
  return (node as { range?: [number, number, number] | null } | null)?.range?.[0] ?? 0;
}

async function findSource(
  item: Item,
  sourceFolder: string | undefined,
  problems: Problem[],
): Promise<SourceFile | undefined> {
  const view = item.value as { name: string; source?: { file?: string } };
  const written = view.source?.file;
  if (written === undefined) return undefined;
  const folder = await realpath(sourceFolder ?? dirname(item.file.path));
  const path = placeOf(item.file, [item.kind, item.index, 'source', 'file']);
  try {
    const real = await realpath(resolve(folder, written));
    const inside = relative(folder, real);
    if (!isAbsolute(written) && inside !== '..' && !inside.startsWith(`..${sep}`) && !isAbsolute(inside)) {
      return { view: view.name, written, path: real };
    }
    problems.push({
      path,
      code: 'source_outside',
      found: written,
      expected: `a file in the folder of ${basename(item.file.path)}; or upload it with \`featureloft upload\` and name its dataset`,
    });
  } catch {
    problems.push({ path, code: 'no_such_file', found: written, expected: `a file in ${folder}` });
  }
  return undefined;
}

function refuseIfAny(problems: readonly Problem[]): void {
  const [first] = problems;
  if (!first) return;
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  const found = first.found === undefined ? '' : `found ${first.found}, `;
  const words = `${first.path ?? ''}: ${found}${expectedOf(first)}${more}`;
  throw new LoftError(422, 'bad_definition', /[.?]$/.test(words) ? words : `${words}.`, { problems: [...problems] });
}

function expectedOf({ code, expected = 'a valid definition' }: Problem): string {
  return code === 'bad_yaml' ? expected : `expected ${expected}`;
}
