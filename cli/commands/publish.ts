import { publishFiles } from '../../client/publishFiles';
import { UploadMemory } from '../../client/uploadMemory';
import { LoftError } from '../../contract/errors';
import { join } from 'node:path';
import { EXIT, Misuse, readArguments, type Command } from '../command';
import { count } from '../output';
import { describeChanges, planOptions, planOptionsHelp } from './plan';

export const publish: Command = {
  name: 'publish',
  usage: 'FILE…',
  summary: 'Publish definition files; upload and load the data files that they name',
  help: [
    ...planOptionsHelp,
    '--plan-hash HASH         publish exactly the plan that `plan` showed; needed for breaking changes and removals',
    '--force                  remove also what services and training sets use',
    '--no-load                publish and upload, but load no values',
  ],
  async run(argv, context) {
    const { values, positionals } = readArguments(argv, {
      ...planOptions,
      'plan-hash': { type: 'string' },
      force: { type: 'boolean' },
      'no-load': { type: 'boolean' },
    });
    if (positionals.length === 0 && !values.remove) throw new Misuse('expected at least one FILE');
    const client = await context.connect();
    const { out } = context;
    try {
      const published = await publishFiles(client, positionals, {
        ...(values.remove ? { remove: values.remove } : {}),
        ...(values['plan-hash'] === undefined ? {} : { planHash: values['plan-hash'] }),
        ...(values.force ? { force: true } : {}),
        load: !values['no-load'],
        memory: new UploadMemory(join(context.dataDir, 'uploads.json')),
        onProgress: (progress) => {
          switch (progress.step) {
            case 'upload':
              out.line(
                progress.already
                  ? `dataset ${progress.dataset}: version ${progress.version} is this file already`
                  : `dataset ${progress.dataset}: version ${progress.version}, ${count(progress.rows, 'row')}`,
              );
              break;
            case 'publish':
              for (const line of describeChanges(progress.changes)) out.line(line);
              out.line(
                progress.changes.length === 0
                  ? `Nothing changed; the registry is at version ${progress.registryVersion}.`
                  : `Published: ${count(progress.changes.length, 'change')}, registry version ${progress.registryVersion}.`,
              );
              break;
            case 'load':
              out.line(
                progress.already
                  ? `${progress.view}: loaded already`
                  : `${progress.view}: ${count(progress.written ?? 0, 'row')} written, ${count(progress.superseded ?? 0, 'older one')}, ${progress.rejected ?? 0} rejected`,
              );
              break;
          }
        },
      });
      if (out.json) out.result(published, []);
    } catch (error) {
      if (error instanceof LoftError && error.code === 'plan_required') {
        out.note('Look at the plan with `featureloft plan`, then publish it with the --plan-hash that it shows.');
      }
      throw error;
    }
    return EXIT.done;
  },
};
