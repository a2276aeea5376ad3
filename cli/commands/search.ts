import { EXIT, Misuse, readArguments, readCount, type Command } from '../command';
import { count, table } from '../output';

export const search: Command = {
  name: 'search',
  usage: 'WORDS…',
  summary: 'Search features by name or keyword',
  help: [
    '--entity NAME --owner NAME --tag TAG --type TYPE   only these',
    '--limit N                                          at most N hits (20)',
  ],
  async run(argv, context) {
    const { values, positionals } = readArguments(argv, {
      entity: { type: 'string' },
      owner: { type: 'string' },
      tag: { type: 'string' },
      type: { type: 'string' },
      limit: { type: 'string' },
    });
    if (positionals.length === 0) throw new Misuse('expected WORDS to search for');
    const { limit, ...filters } = values;
    const client = await context.connect();
    const answer = await client.call('search', {
      query: { q: positionals.join(' '), limit: readCount(limit, '--limit') ?? 20, ...filters },
    });
    context.out.result(answer, [
      ...(answer.hits.length === 0
        ? []
        : table(
            ['FEATURE', 'TYPE', 'ENTITY', 'DESCRIPTION'],
            answer.hits.map((hit) => [hit.ref, hit.type, hit.entity, hit.description ?? '']),
          )),
      `${count(answer.total, 'feature')} in ${answer.tookMs.toFixed(1)} ms`,
    ]);
    return EXIT.done;
  },
};
