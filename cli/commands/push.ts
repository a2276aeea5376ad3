import { dataTypes, type DataFormat } from '../../client/gatewayClient';
import { typeOfFile } from '../../client/publishFiles';
import { LoftError } from '../../contract/errors';
import { EXIT, Misuse, namedPositionals, readArguments, type Command } from '../command';
import { count } from '../output';

export const push: Command = {
  name: 'push',
  usage: 'VIEW FILE',
  summary: 'Write rows of a CSV, NDJSON or Parquet file to a view (VIEW, or VIEW@v1)',
  help: [
    '--skip-bad-rows          take the good rows and count the rest; otherwise one bad row refuses all',
    '--format csv|ndjson|parquet   of standard input, when FILE is -',
    '--idempotency-key KEY    the same key again within 24 h answers as the first time did',
  ],
  async run(argv, context) {
    const { values, positionals } = readArguments(argv, {
      'skip-bad-rows': { type: 'boolean' },
      format: { type: 'string' },
      'idempotency-key': { type: 'string' },
    });
    const [view, file] = namedPositionals(positionals, 'VIEW', 'FILE');
    const rows =
      file === '-'
        ? { stream: process.stdin, type: dataTypes[readFormat(values.format)] }
        : { file, type: values.format === undefined ? typeOfFile(file) : dataTypes[readFormat(values.format)] };
    const client = await context.connect();
    const key = values['idempotency-key'];
    const sent = client.call('writeRows', {
      params: { view },
      query: values['skip-bad-rows'] ? { onError: 'skip' } : {},
      rows,
      ...(key === undefined ? {} : { headers: { 'idempotency-key': key } }),
    });
    const answer = await sent.catch((error: unknown) => {
      if (!(error instanceof LoftError) || error.code !== 'bad_rows') throw error;
      const { status, code, detail, problems, extra } = error;
      // The gateway speaks of its own route.
      throw new LoftError(status, code, detail.replace('?onError=skip', '--skip-bad-rows'), { problems, extra });
    });
    context.out.result(answer, [
      `${view}: ${count(answer.written, 'row')} written, ${answer.superseded} superseded, ${answer.rejected} rejected, ${count(answer.warned, 'warning')}`,
    ]);
    return EXIT.done;
  },
};

export function readFormat(text: string | undefined): DataFormat {
  if (text !== undefined && Object.hasOwn(dataTypes, text)) return text as DataFormat;
  throw new Misuse(`--format takes csv, ndjson or parquet, found ${text ?? 'nothing'}`);
}
