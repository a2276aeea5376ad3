import type { TrainingSetInfo } from '../../contract/api';
import { dataTypes } from '../../client/gatewayClient';
import { EXIT, Misuse, namedPositionals, readArguments, readCount, type Command, type Context } from '../command';
import { count, table } from '../output';
import { readFormat } from './push';

export const trainingSet: Command = {
  name: 'training-set',
  usage: 'create|list|show|data …',
  summary: 'Build training sets by point-in-time join, and get their rows',
  help: [
    'create NAME --spine DATASET --event-timestamp COLUMN (--feature REF… | --service NAME)',
    '    [--spine-version N] [--label COLUMN…] [--as-known-at] [--full-names] [--dry-run]',
    'list',
    'show NAME [--version N]',
    'data NAME --out FILE [--version N] [--format parquet|csv|ndjson]',
  ],
  async run([action, ...argv], context) {
    switch (action) {
      case 'create':
        await create(argv, context);
        break;
      case 'list':
        await list(argv, context);
        break;
      case 'show':
        await show(argv, context);
        break;
      case 'data':
        await data(argv, context);
        break;
      default:
        throw new Misuse(`expected create, list, show or data, found ${action ?? 'nothing'}`);
    }
    return EXIT.done;
  },
};

async function create(argv: string[], context: Context): Promise<void> {
  const { values, positionals } = readArguments(argv, {
    spine: { type: 'string' },
    'spine-version': { type: 'string' },
    'event-timestamp': { type: 'string' },
    feature: { type: 'string', multiple: true },
    service: { type: 'string' },
    label: { type: 'string', multiple: true },
    'as-known-at': { type: 'boolean' },
    'full-names': { type: 'boolean' },
    'dry-run': { type: 'boolean' },
  });
  const [name] = namedPositionals(positionals, 'NAME');
  const { spine, feature, service } = values;
  if (spine === undefined) throw new Misuse('expected --spine DATASET');
  const eventTimestamp = values['event-timestamp'];
  if (eventTimestamp === undefined) throw new Misuse('expected --event-timestamp COLUMN');
  if ((feature === undefined) === (service === undefined))
    throw new Misuse('expected either --feature REF… or --service NAME');
  const version = readCount(values['spine-version'], '--spine-version');
  const client = await context.connect();
  context.out.progress(`building ${name} …`);
  const answer = await client.call('createTrainingSet', {
    body: {
      name,
      spine: { dataset: spine, ...(version === undefined ? {} : { version }) },
      eventTimestamp,
      ...(values.label ? { labels: values.label } : {}),
      ...(feature ? { features: feature } : {}),
      ...(service === undefined ? {} : { service }),
      ...(values['as-known-at'] ? { asKnownAt: true } : {}),
      ...(values['full-names'] ? { fullNames: true } : {}),
      ...(values['dry-run'] ? { dryRun: true } : {}),
    },
  });
  if ('dryRun' in answer) {
    context.out.result(answer, [
      `${name} would have ${count(answer.rows, 'row')} and ${count(answer.columns.length, 'column')}: ${answer.columns.map((column) => column.name).join(', ')}`,
      ...answer.warnings.map((warning) => `warning: ${warning}`),
    ]);
  } else context.out.result(answer, describe(answer));
}

async function list(argv: string[], context: Context): Promise<void> {
  const { positionals } = readArguments(argv, {});
  namedPositionals(positionals);
  const client = await context.connect();
  const items: TrainingSetInfo[] = [];
  let cursor: string | undefined;
  do {
    const page = await client.call('trainingSets', {
      query: { limit: 200, ...(cursor === undefined ? {} : { cursor }) },
    });
    items.push(...page.items);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  context.out.result(
    { items },
    items.length === 0
      ? ['No training sets yet.']
      : table(
          ['NAME', 'VERSION', 'ROWS', 'COLUMNS', 'CREATED', 'ID'],
          items.map((set) => [set.name, set.version, set.rows, set.columns.length, set.createdAt, set.id]),
        ),
  );
}

async function show(argv: string[], context: Context): Promise<void> {
  const { values, positionals } = readArguments(argv, { version: { type: 'string' } });
  const [name] = namedPositionals(positionals, 'NAME');
  const version = readCount(values.version, '--version');
  const client = await context.connect();
  const set =
    version === undefined
      ? await client.call('trainingSet', { params: { name } })
      : await client.call('trainingSetVersion', { params: { name, version: String(version) } });
  context.out.result(set, describe(set));
}

async function data(argv: string[], context: Context): Promise<void> {
  const { values, positionals } = readArguments(argv, {
    version: { type: 'string' },
    format: { type: 'string' },
    out: { type: 'string' },
  });
  const [name] = namedPositionals(positionals, 'NAME');
  const file = values.out;
  if (file === undefined) throw new Misuse('expected --out FILE');
  const byName = (Object.keys(dataTypes) as (keyof typeof dataTypes)[]).find((format) => file.endsWith(`.${format}`));
  const format = values.format === undefined ? (byName ?? 'parquet') : readFormat(values.format);
  const version = readCount(values.version, '--version');
  const client = await context.connect();
  const bytes =
    version === undefined
      ? await client.download('trainingSetData', { params: { name }, format, file })
      : await client.download('trainingSetVersionData', {
          params: { name, version: String(version) },
          format,
          file,
        });
  context.out.result({ file, format, bytes }, [`${file}: ${count(bytes, 'byte')} of ${format}`]);
}

function describe(set: TrainingSetInfo): string[] {
  return [
    `training set ${set.name}, version ${set.version}: ${count(set.rows, 'row')}, ${count(set.columns.length, 'column')}`,
    `id ${set.id}`,
    ...table(
      ['COLUMN', 'TYPE'],
      set.columns.map((column) => [column.name, column.type]),
    ),
    ...set.files.map((file) => `${file.file}: ${count(file.bytes, 'byte')}, SHA-256 ${file.sha256}`),
    ...set.warnings.map((warning) => `warning: ${warning}`),
  ];
}
