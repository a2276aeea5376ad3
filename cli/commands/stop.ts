import { findGateway, stopGateway } from '../../client/discovery';
import { EXIT, namedPositionals, readArguments, type Command } from '../command';

export const stop: Command = {
  name: 'stop',
  usage: '',
  summary: 'End the data folder’s gateway in order',
  help: [],
  async run(argv, context) {
    const { positionals } = readArguments(argv, {});
    namedPositionals(positionals);
    const found = await findGateway(context.dataDir);
    if (found) await stopGateway(found);
    context.out.result({ stopped: found?.pid ?? null }, [
      found ? `The gateway (process ${found.pid}) has ended.` : `No gateway runs on ${context.dataDir}.`,
    ]);
    return EXIT.done;
  },
};
