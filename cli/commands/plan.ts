import { planFiles } from '../../client/publishFiles';
import type { Change } from '../../contract/api';
import { EXIT, Misuse, readArguments, type Command } from '../command';
import { count, printable } from '../output';

export const planOptions = {
  remove: { type: 'string', multiple: true },
} as const;

export const planOptionsHelp = [
  '--remove NAME            also remove a view, view@v1, view:feature, entity:name or service:name (repeatable)',
];

export const plan: Command = {
  name: 'plan',
  usage: 'FILE…',
  summary: 'Show what publishing definition files would change',
  help: planOptionsHelp,
  async run(argv, context) {
    const { values, positionals } = readArguments(argv, planOptions);
    if (positionals.length === 0 && !values.remove) throw new Misuse('expected at least one FILE');
    const client = await context.connect();
    const planned = await planFiles(client, positionals, values.remove ? { remove: values.remove } : {});
    context.out.result(planned, [
      ...describeChanges(planned.changes),
      ...planned.changes.flatMap(({ sql }) => sql.flatMap((statement) => `${statement};`.split('\n'))).map(printable),
      planned.changes.length === 0
        ? `Nothing would change; the registry is at version ${planned.registryVersion}.`
        : `${count(planned.changes.length, 'change')} to registry version ${planned.registryVersion}. Publish exactly this with --plan-hash ${planned.planHash}`,
    ]);
    return EXIT.done;
  },
};

export function describeChanges(changes: readonly Change[]): string[] {
  return changes.flatMap((change) => {
    const version = change.version === undefined ? '' : ` (version ${change.version})`;
    const affects = [
      ...change.affects.services.map((name) => `service ${name}`),
      ...change.affects.trainingSets.map((name) => `training set ${name}`),
    ];
    return [
      `${change.action} ${change.kind} ${change.name}${version}: ${change.class}`,
      ...change.properties.map(({ path, old, new: next }) => `    ${path}: ${shown(old)} → ${shown(next)}`),
      ...(affects.length > 0 ? [`    affects ${affects.join(', ')}`] : []),
    ].map(printable);
  });
}

function shown(value: unknown): string {
  return value === undefined ? '(none)' : JSON.stringify(value);
}
