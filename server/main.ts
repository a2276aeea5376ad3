import { serve } from './serve';

/** `gateway.js serve …`: what clients start. `featureloft serve` is the same. */
const [command, ...argv] = process.argv.slice(2);
if (command !== 'serve') {
  process.stderr.write('Usage: gateway.js serve --data DIR [--port N] [--postgres URL] [--python FILE]\n');
  process.exit(2);
}
void serve(argv).then((code) => process.exit(code));
