import { findGateway, readDiscovery } from '../../client/discovery';
import { GatewayClient } from '../../client/gatewayClient';
import { EXIT, namedPositionals, readArguments, type Command } from '../command';
import { count, table } from '../output';

/** An outbox this old means that nobody brings pushed rows to the offline store. */
const OLD_OUTBOX_SECONDS = 300;

export const doctor: Command = {
  name: 'doctor',
  usage: '',
  summary: 'Say what runs, what does not, and what to do about it',
  help: ['Exit code 1 when something is wrong.'],
  async run(argv, context) {
    const { positionals } = readArguments(argv, {});
    namedPositionals(positionals);
    const { dataDir, out } = context;
    const found = await findGateway(dataDir);
    if (!found) {
      const left = await readDiscovery(dataDir);
      const advice = left
        ? `its last one (process ${left.pid}) is gone or does not answer; the next start repairs that`
        : 'start one with `featureloft serve`, or `npm start` in a checkout';
      out.result({ dataDir, gateway: null }, [`data folder ${dataDir}`, `no gateway runs: ${advice}`]);
      return EXIT.failed;
    }
    const health = await new GatewayClient(found).call('health');
    const advice: string[] = [];
    const { stores, outbox } = health;
    if (stores?.online.state === 'away') advice.push(`Postgres is away: ${stores.online.detail ?? ''}`);
    if (stores && stores.offline.state !== 'ok')
      advice.push(`The offline store is ${stores.offline.state}: ${stores.offline.detail ?? ''}`);
    if ((outbox?.oldestSeconds ?? 0) > OLD_OUTBOX_SECONDS)
      advice.push(`Pushed rows wait for ${outbox?.oldestSeconds} s for the offline store: no gateway drains them.`);
    out.result({ dataDir, gateway: { url: found.url, pid: found.pid }, health, advice }, [
      ...table(
        ['WHAT', 'STATE'],
        [
          ['data folder', dataDir],
          ['gateway', `${found.url}, process ${found.pid}, version ${found.version}`],
          ['online store', `${stores?.online.state}${stores?.online.embedded ? ' (embedded Postgres)' : ''}`],
          ['offline store', `${stores?.offline.state} (${stores?.offline.lake})`],
          ['registry', `version ${health.registryVersion}, ${health.search?.features} features searchable`],
          ['outbox', `${count(outbox?.rows ?? 0, 'row')} in ${count(outbox?.chunks ?? 0, 'chunk')}`],
        ],
      ),
      ...(advice.length === 0 ? ['All is well.'] : advice),
    ]);
    return advice.length === 0 ? EXIT.done : EXIT.failed;
  },
};
