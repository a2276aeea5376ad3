// `npm run setup`: all that the sample and the tests need in this checkout. What is there already takes no time.
import { build } from '../build.mjs';
import { isMain } from './checkout.mjs';
import { installExtensions } from './extensions.mjs';
import { checkNode, installNodeModules } from './node.mjs';
import { checkPython, installPython } from './python.mjs';
import { main, say } from './report.mjs';

export async function setup({ oldestNode } = {}) {
  checkNode(oldestNode);
  checkPython();
  await installNodeModules();
  await build();
  await installPython();
  await installExtensions();
}

if (isMain(import.meta.url)) {
  await main(async () => {
    await setup();
    say('Ready. `npm start` runs the sample, `npm test` the tests.');
  });
}
