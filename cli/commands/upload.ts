import { typeOfFile } from '../../client/publishFiles';
import { EXIT, Misuse, namedPositionals, readArguments, type Command } from '../command';
import { count, table } from '../output';

export const upload: Command = {
  name: 'upload',
  usage: 'NAME FILE',
  summary: 'Upload a CSV, NDJSON or Parquet file as the next version of a dataset',
  help: ['--append   add its rows to those of the newest version'],
  async run(argv, context) {
    const { values, positionals } = readArguments(argv, { append: { type: 'boolean' } });
    const [name, file] = namedPositionals(positionals, 'NAME', 'FILE');
    if (file === '-') throw new Misuse('FILE must be a file');
    const client = await context.connect();
    context.out.progress(`uploading ${file} …`);
    const dataset = await client.call('uploadDataset', {
      params: { name },
      query: { mode: values.append ? 'append' : 'replace' },
      rows: { file, type: typeOfFile(file) },
    });
    context.out.result(dataset, [
      `dataset ${dataset.name}: version ${dataset.version}, ${count(dataset.rows, 'row')}, content ${dataset.sha256}`,
      ...table(
        ['COLUMN', 'TYPE'],
        dataset.columns.map((column) => [column.name, column.type]),
      ),
    ]);
    return EXIT.done;
  },
};
