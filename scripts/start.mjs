// `npm start [-- --once]`: sets up what is missing, then runs the sample through the gateway; other options go to
// `featureloft sample`. A second start finds all in place and takes seconds.
import { join } from 'node:path';
import { ROOT } from './setup/checkout.mjs';
import { run } from './setup/process.mjs';
import { VENV_PYTHON } from './setup/python.mjs';
import { lineSayer, main, say, SetupError } from './setup/report.mjs';
import { setup } from './setup/setup.mjs';

/** The sample takes about a minute at first; the steps inside have time-outs of their own and say more. */
const SAMPLE_TIMEOUT_MS = 20 * 60_000;

await main(async () => {
  await setup();
  say('set-up: ready');
  const args = [join(ROOT, 'dist', 'cli.js'), 'sample', '--python', VENV_PYTHON, ...process.argv.slice(2)];
  const { code, timedOut } = await run(process.execPath, args, { timeoutMs: SAMPLE_TIMEOUT_MS, show: lineSayer() });
  if (timedOut) {
    throw new SetupError(
      `The sample did not end within ${SAMPLE_TIMEOUT_MS / 60_000} minutes.`,
      'Run `npm start` again: it goes on from what is there. The logs are in the data folder, under logs/.',
    );
  }
  say(code === 0 ? 'done' : `the sample failed (exit code ${code}); \`npm start\` goes on from what is there`);
  return code ?? 1;
});
