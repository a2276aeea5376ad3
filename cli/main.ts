import { resolve } from 'node:path';
import { defaultDataDir } from '../client/discovery';
import { LoftError } from '../contract/errors';
import { EXIT, Misuse, type Command, type ExitCode } from './command';
import { doctor } from './commands/doctor';
import { get } from './commands/get';
import { plan } from './commands/plan';
import { publish } from './commands/publish';
import { push } from './commands/push';
import { sample } from './commands/sample';
import { search } from './commands/search';
import { serve } from './commands/serve';
import { stop } from './commands/stop';
import { train } from './commands/train';
import { trainingSet } from './commands/trainingSet';
import { upload } from './commands/upload';
import { verify } from './commands/verify';
import { connect } from './connect';
import { Output, printable } from './output';

const commands: readonly Command[] = [
  serve,
  plan,
  publish,
  search,
  get,
  push,
  upload,
  trainingSet,
  train,
  verify,
  doctor,
  stop,
  sample,
];

async function run(argv: readonly string[]): Promise<ExitCode> {
  let json = false;
  try {
    const common = readCommon(argv);
    json = common.json;
    const [name, ...rest] = common.rest;
    if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
      const asked = commands.find((command) => command.name === rest[0]);
      process.stdout.write(asked ? helpOf(asked) : overview());
      return name === undefined ? EXIT.misuse : EXIT.done;
    }
    const command = commands.find((one) => one.name === name);
    if (!command) throw new Misuse(`there is no command ${printable(name)}`);
    if (rest.includes('--help') || rest.includes('-h')) {
      process.stdout.write(helpOf(command));
      return EXIT.done;
    }
    const out = new Output(json);
    const { dataDir } = common;
    try {
      return await command.run(rest, { out, dataDir, connect: () => connect(dataDir, out) });
    } catch (error) {
      if (error instanceof Misuse) throw new Misuse(`${error.message}\nUsage: featureloft ${name} ${command.usage}`);
      throw error;
    }
  } catch (error) {
    return report(error, json);
  }
}

/** --json and --data stand anywhere in the line, before a lone `--`. */
function readCommon(argv: readonly string[]): { json: boolean; dataDir: string; rest: string[] } {
  let json = false;
  let data: string | undefined;
  const rest: string[] = [];
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] ?? '';
    if (word === '--') {
      rest.push(...argv.slice(at));
      break;
    }
    if (word === '--json') json = true;
    else if (word === '--data') {
      data = argv[++at];
      if (data === undefined || data === '') throw new Misuse('--data takes a folder');
    } else if (word.startsWith('--data=')) data = word.slice('--data='.length);
    else rest.push(word);
  }
  return { json, dataDir: data === undefined ? defaultDataDir() : resolve(data), rest };
}

function report(error: unknown, json: boolean): ExitCode {
  if (error instanceof Misuse) {
    process.stderr.write(`featureloft: ${error.message}\nSee \`featureloft help\`.\n`);
    return EXIT.misuse;
  }
  if (!(error instanceof LoftError)) {
    process.stderr.write(`featureloft: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    return EXIT.failed;
  }
  if (json) process.stderr.write(`${JSON.stringify(error.toDocument())}\n`);
  else {
    process.stderr.write(`featureloft: ${error.detail.split('\n').map(printable).join('\n')}\n`);
    if (error.problems.length > 1) {
      for (const { path, row, field, code, found, expected } of error.problems) {
        const where = [path, row === undefined ? undefined : `row ${row}`, field].filter(Boolean).join(', ');
        const what = `${found === undefined ? '' : `found ${found}, `}expected ${expected ?? code}`;
        process.stderr.write(`  ${printable(where === '' ? what : `${where}: ${what}`)}\n`);
      }
    }
  }
  return error.status === 409 ? EXIT.refused : EXIT.failed;
}

function overview(): string {
  const width = Math.max(...commands.map((command) => command.name.length));
  return [
    'featureloft COMMAND … [--data DIR] [--json]',
    '',
    ...commands.map((command) => `  ${command.name.padEnd(width)}  ${command.summary}`),
    '',
    '  --data DIR   the data folder; by default FEATURELOFT_DATA, else the platform’s place for it',
    '  --json       one JSON document on standard output, for scripts',
    '',
    'Exit codes: 0 done, 1 failed, 2 misuse, 3 refused because of a conflict.',
    '`featureloft help COMMAND` says more.',
    '',
  ].join('\n');
}

function helpOf(command: Command): string {
  return [
    `featureloft ${command.name} ${command.usage}`.trimEnd(),
    `  ${command.summary}.`,
    ...(command.help.length > 0 ? ['', ...command.help.map((text) => `  ${text}`)] : []),
    '',
  ].join('\n');
}

void run(process.argv.slice(2)).then((code) => {
  // Nothing may keep a finished command alive: kept connections, a standard input that never ends.
  process.exitCode = code;
  process.stdout.write('', () => process.exit(code));
});
