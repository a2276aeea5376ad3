import { parseArgs, type ParseArgsConfig } from 'node:util';
import type { GatewayClient } from '../client/gatewayClient';
import type { Output } from './output';

/** What every command is given. */
export interface Context {
  out: Output;
  /** The data folder, absolute. */
  dataDir: string;
  /** Finds the gateway, or starts one. */
  connect(): Promise<GatewayClient>;
}

/** Exit codes that scripts lean on. */
export const EXIT = { done: 0, failed: 1, misuse: 2, refused: 3 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export interface Command {
  name: string;
  /** As in `push VIEW FILE`, after the command's name. */
  usage: string;
  summary: string;
  /** One line an option or hint, for `featureloft help COMMAND`. */
  help: readonly string[];
  run(argv: string[], context: Context): Promise<ExitCode>;
}

/** A command line that makes no sense: exit code 2, and the usage is shown. */
export class Misuse extends Error {}

type Options = NonNullable<ParseArgsConfig['options']>;

/** `parseArgs`, strict, whose complaints are a Misuse. Options of every command (--json, --data) are gone by now. */
export function readArguments<const Declared extends Options>(argv: string[], options: Declared) {
  try {
    return parseArgs({ args: argv, options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new Misuse(error instanceof Error ? (error.message.split('. ')[0] ?? '') : String(error));
  }
}

/** Exactly these positionals, by name. */
export function namedPositionals<const Names extends readonly string[]>(
  positionals: readonly string[],
  ...names: Names
): { [At in keyof Names]: string } {
  if (positionals.length !== names.length) {
    const found = positionals.length === 0 ? 'none' : positionals.join(' ');
    throw new Misuse(`expected ${names.join(' ') || 'no argument'}, found ${found}`);
  }
  return positionals as unknown as { [At in keyof Names]: string };
}

export function readCount(text: string | undefined, option: string, least = 1): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text) && Number(text) >= least) return Number(text);
  throw new Misuse(`${option} takes a whole number from ${least}, found ${text}`);
}
