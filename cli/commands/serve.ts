import { serve as serveGateway, serveHelp } from '../../server/serve';
import type { Command } from '../command';

export const serve: Command = {
  name: 'serve',
  usage: '',
  summary: 'Run the gateway here until it is stopped; prints one JSON line when it is ready',
  help: serveHelp,
  run(argv, context) {
    return serveGateway(['--data', context.dataDir, ...argv]);
  },
};
