import { findGateway, stopGateway } from '../../client/discovery';
import { stopLeftCluster } from '../../server/postgres/embedded/cluster';
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
    // One that was killed leaves its Postgres running.
    const left = found ? undefined : await stopLeftCluster(context.dataDir);
    context.out.result({ stopped: found?.pid ?? null, stoppedPostgres: left?.pid ?? null }, [
      found ? `The gateway (process ${found.pid}) has ended.` : `No gateway runs on ${context.dataDir}.`,
      ...(left ? [`The Postgres that a killed one left running (process ${left.pid}) has ended.`] : []),
    ]);
    return EXIT.done;
  },
};
