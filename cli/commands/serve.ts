import type { Command } from '../command';

export const serve: Command = {
  name: 'serve',
  usage: '',
  summary: 'Run the gateway here until it is stopped; prints one JSON line when it is ready',
  help: [
    '--port N          default 0: any free port',
    '--host H          a loopback address; default 127.0.0.1',
    '--postgres URL    a Postgres elsewhere, without a password in it; default: one of its own in the data folder.',
    '                  FEATURELOFT_POSTGRES_URL or FEATURELOFT_POSTGRES_URL_FILE may hold a URL with a password',
    '--python FILE     runs training jobs; default FEATURELOFT_PYTHON, else .venv of a checkout, else python3',
  ],
  async run(argv, context) {
    // Only this command needs the server, whose parts take longer to load than the others take to run.
    const { serve: serveGateway } = await import('../../server/serve');
    return serveGateway(['--data', context.dataDir, ...argv]);
  },
};
