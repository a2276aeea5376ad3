import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { defaultDataDir, ensureGateway, findGateway, stopGateway } from '../../client/discovery';
import { GatewayClient } from '../../client/gatewayClient';
import { runSample, type SampleStep } from '../../client/sample';
import { LoftError } from '../../contract/errors';
import { EXIT, namedPositionals, readArguments, type Command } from '../command';
import { gatewayPath } from '../connect';
import { printable } from '../output';

export const sample: Command = {
  name: 'sample',
  usage: '',
  summary: 'Publish the nycflights sample, load it, read it, and train on it; what `npm start` runs',
  help: [
    '--once          end the gateway after the summary, if this started it',
    '--python FILE   Python with the package featureloft[train]; default FEATURELOFT_PYTHON, else python3',
  ],
  async run(argv, context) {
    const { values, positionals } = readArguments(argv, { once: { type: 'boolean' }, python: { type: 'string' } });
    namedPositionals(positionals);
    const { out, dataDir } = context;
    const given = values.python ?? process.env['FEATURELOFT_PYTHON'] ?? 'python3';
    const python = /[\\/]/.test(given) ? resolve(given) : given;
    const running = await findGateway(dataDir);
    out.progress('starting the gateway …');
    const gateway =
      running ??
      (await ensureGateway({
        dir: dataDir,
        gatewayPath: gatewayPath(),
        args: ['--python', python],
        onProgress: (line) => {
          if (!line.startsWith('{')) out.progress(line);
        },
      }));
    out.line(
      `gateway: ${running ? 'already running' : 'started'} at ${gateway.url} (process ${gateway.pid}), data in ${dataDir}`,
    );
    const at = dataDir === defaultDataDir() ? '' : ` --data '${dataDir}'`;
    const steps: SampleStep[] = [];
    try {
      const client = new GatewayClient(gateway);
      const options = {
        client,
        dataDir,
        sampleDir: sampleDir(),
        python,
        onProgress: (text: string) => out.progress(text),
      };
      for await (const step of runSample(options)) {
        steps.push(step);
        out.line(printable(step.line));
      }
      client.close();
    } finally {
      if (values.once && !running) await stopGateway(gateway);
    }
    out.result({ gateway: { url: gateway.url, pid: gateway.pid, dataDir }, steps }, [
      ...whereNext(at),
      values.once && !running
        ? 'The gateway has ended; `npm start` starts it again.'
        : `\`npx featureloft stop${at}\` ends the gateway.`,
    ]);
    return EXIT.done;
  },
};

function whereNext(at: string): string[] {
  const keys = '--key origin=JFK --key carrier=B6 --key tailnum=N236JB';
  return [
    `Where to look next: \`npx featureloft search delay${at}\`, \`npx featureloft get --service delay_model ${keys}${at}\`,`,
    `\`npx featureloft training-set show flight_delays${at}\`, and the notebook examples/nycflights/train.ipynb.`,
  ];
}

/** Beside dist/ in a checkout, in the package otherwise. */
function sampleDir(): string {
  const found = [dirname(__dirname), dirname(dirname(__dirname))]
    .map((folder) => join(folder, 'examples', 'nycflights'))
    .find((folder) => existsSync(join(folder, 'sample.json')));
  if (found !== undefined) return found;
  throw new LoftError(
    500,
    'no_sample',
    'The sample’s files (examples/nycflights) are not here; run this in a checkout.',
  );
}
