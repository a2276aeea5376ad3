import { followJob } from '../../client/followJob';
import { EXIT, Misuse, namedPositionals, readArguments, readCount, type Command } from '../command';
import { count } from '../output';

export const train: Command = {
  name: 'train',
  usage: 'TRAINING_SET',
  summary: 'Train a model on a training set, as a job of the gateway',
  help: [
    '--label COLUMN         what to predict; by default the training set’s only label',
    '--version N            by default the newest',
    '--test-fraction F      how much of the rows is kept for the test, between 0 and 1',
    '--detach               answer the job at once and do not wait; otherwise Ctrl-C cancels it',
  ],
  async run(argv, context) {
    const { values, positionals } = readArguments(argv, {
      label: { type: 'string' },
      version: { type: 'string' },
      'test-fraction': { type: 'string' },
      detach: { type: 'boolean' },
    });
    const [name] = namedPositionals(positionals, 'TRAINING_SET');
    const version = readCount(values.version, '--version');
    const testFraction = values['test-fraction'] === undefined ? undefined : Number(values['test-fraction']);
    if (testFraction !== undefined && !(testFraction > 0 && testFraction < 1))
      throw new Misuse(`--test-fraction takes a number between 0 and 1, found ${values['test-fraction']}`);
    const { out } = context;
    const client = await context.connect();
    const started = await client.call('startJob', {
      body: {
        kind: 'training',
        trainingSet: name,
        ...(version === undefined ? {} : { version }),
        ...(values.label === undefined ? {} : { label: values.label }),
        ...(testFraction === undefined ? {} : { testFraction }),
      },
    });
    if (values.detach) {
      out.result(started, [`job ${started.id} is ${started.state}`]);
      return EXIT.done;
    }
    const cancel = (): void => void client.call('cancelJob', { params: { id: started.id } }).catch(() => undefined);
    process.once('SIGINT', cancel);
    const ended = await followJob(client, started, {
      onProgress: (job) => out.progress(`${Math.round(job.progress * 100)} % ${job.message}`),
    });
    process.off('SIGINT', cancel);
    out.result(ended, [
      `job ${ended.id} ${ended.state}${ended.error === undefined ? '' : `: ${ended.error}`}`,
      ...Object.entries(ended.metrics ?? {})
        .filter(([, value]) => typeof value !== 'object')
        .map(([metric, value]) => `    ${metric}: ${String(value)}`),
      ...ended.files.map((file) => `${file.file}: ${count(file.bytes, 'byte')}, SHA-256 ${file.sha256}`),
    ]);
    return ended.state === 'succeeded' ? EXIT.done : EXIT.failed;
  },
};
