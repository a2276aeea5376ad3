import type { GatewayClient } from '../../client/gatewayClient';
import { RawJson } from '../../contract/json';
import { EXIT, Misuse, readArguments, type Command } from '../command';
import { table } from '../output';

export const get: Command = {
  name: 'get',
  usage: 'REF… --key NAME=VALUE…',
  summary: 'Read the newest values of features (view:feature, or view@v2:feature)',
  help: [
    '--key NAME=VALUE   a join key; give it again for further entities, in the same order for each name',
    '--service NAME     all features of a service, instead of REF…',
    '--full-names       call columns view__feature',
  ],
  async run(argv, context) {
    const { values, positionals } = readArguments(argv, {
      key: { type: 'string', multiple: true },
      service: { type: 'string' },
      'full-names': { type: 'boolean' },
    });
    if ((positionals.length === 0) === (values.service === undefined))
      throw new Misuse('expected either REF… or --service NAME');
    if (!values.key) throw new Misuse('expected at least one --key NAME=VALUE');
    const texts = readKeys(values.key);
    const client = await context.connect();
    const entities = await typedKeys(client, texts);
    const answer = await client.call('onlineGet', {
      body: {
        ...(values.service === undefined ? { features: positionals } : { service: values.service }),
        entities,
        ...(values['full-names'] ? { fullNames: true } : {}),
      },
    });
    const keys = [...texts.keys()];
    const rows = (texts.get(keys[0] ?? '') ?? []).flatMap((_, at) =>
      Object.entries(answer.columns).map(([name, column]) => [
        ...keys.map((key) => texts.get(key)?.[at]),
        name,
        column.values[at],
        column.statuses[at],
        column.eventTimestamps[at],
      ]),
    );
    context.out.result(answer, [
      ...table([...keys.map((key) => key.toUpperCase()), 'FEATURE', 'VALUE', 'STATUS', 'EVENT TIME'], rows),
      `as of ${answer.asOf}`,
    ]);
    return EXIT.done;
  },
};

function readKeys(pairs: readonly string[]): Map<string, string[]> {
  const keys = new Map<string, string[]>();
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    if (equals <= 0) throw new Misuse(`--key takes NAME=VALUE, found ${pair}`);
    const name = pair.slice(0, equals);
    keys.set(name, [...(keys.get(name) ?? []), pair.slice(equals + 1)]);
  }
  const lengths = new Set([...keys.values()].map((list) => list.length));
  if (lengths.size > 1) throw new Misuse('each --key NAME must be given equally often');
  return keys;
}

/** A shell knows only text; the entities' definitions say which keys are numbers. */
async function typedKeys(client: GatewayClient, texts: Map<string, string[]>): Promise<Record<string, unknown[]>> {
  const types = new Map<string, string>();
  let cursor: string | undefined;
  do {
    const page = await client.call('registry', {
      query: { limit: 1_000, ...(cursor === undefined ? {} : { cursor }) },
    });
    for (const item of page.items) {
      if (item.kind === 'entity') for (const { name, type } of item.keys) types.set(name, type);
    }
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return Object.fromEntries([...texts].map(([name, list]) => [name, list.map((text) => typed(text, types.get(name)))]));
}

function typed(text: string, type: string | undefined): unknown {
  if (/^int(?:32|64)$/.test(type ?? '') && /^-?(?:0|[1-9]\d*)$/.test(text)) return new RawJson(text);
  if (type === 'bool' && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}
