import { EXIT, namedPositionals, readArguments, type Command } from '../command';
import { count, table } from '../output';

export const verify: Command = {
  name: 'verify',
  usage: '',
  summary: 'Re-hash every stored byte and name what has changed',
  help: ['--incremental   only what was written since the last verify', 'Exit code 1 when something is bad.'],
  async run(argv, context) {
    const { values, positionals } = readArguments(argv, { incremental: { type: 'boolean' } });
    namedPositionals(positionals);
    const client = await context.connect();
    context.out.progress('verifying …');
    const answer = await client.call('verify', { body: { mode: values.incremental ? 'incremental' : 'full' } });
    const checked = `${count(answer.checked, 'file')}, ${count(answer.bytes, 'byte')}`;
    context.out.result(
      answer,
      answer.bad.length === 0
        ? [`clean: ${checked}`]
        : [
            ...table(
              ['FILE', 'PROBLEM', 'TABLE', 'SNAPSHOT', 'TRAINING SETS'],
              answer.bad.map((bad) => [
                bad.file,
                bad.problem,
                bad.table,
                bad.snapshot,
                bad.trainingSets.map((set) => `${set.name} v${set.version}`).join(', '),
              ]),
            ),
            `${count(answer.bad.length, 'bad file')} of ${checked}`,
          ],
    );
    return answer.bad.length === 0 ? EXIT.done : EXIT.failed;
  },
};
