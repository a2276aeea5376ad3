// Draws the README's picture, docs/images/npm-start.svg, from what the sample prints in a new data folder.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '..');
const data = mkdtempSync(join(tmpdir(), 'featureloft-picture-'));
const FONT_PX = 13;
const LINE_PX = 21;
const COLUMNS = 118;

try {
  const args = [join(root, 'dist/cli.js'), 'sample', '--once', '--python', join(root, '.venv/bin/python')];
  const printed = execFileSync(process.execPath, args, {
    env: { ...process.env, FEATURELOFT_DATA: data },
    encoding: 'utf8',
  });
  const lines = ['$ npm start', ...printed.trimEnd().replaceAll(data, '~/.local/share/featureloft').split('\n')];
  writeFileSync(join(root, 'docs/images/npm-start.svg'), draw(lines.flatMap(wrap)));
} finally {
  rmSync(data, { recursive: true, force: true });
}

/** Breaks at a space; what follows is indented. */
function wrap(line) {
  const rows = [];
  let rest = line;
  while (rest.length > COLUMNS) {
    const at = rest.lastIndexOf(' ', COLUMNS);
    rows.push(rest.slice(0, at));
    rest = `    ${rest.slice(at + 1)}`;
  }
  return [...rows, rest];
}

function draw(lines) {
  const width = Math.round(COLUMNS * FONT_PX * 0.602) + 40;
  const height = lines.length * LINE_PX + 36;
  const texts = lines.map((line, index) => {
    const label = /^[a-z][^:"]*(?=[:"])/.exec(line)?.[0] ?? '';
    const y = 32 + index * LINE_PX;
    return `<text x="20" y="${y}" xml:space="preserve"><tspan fill="#7dcfff">${escape(label)}</tspan>${escape(line.slice(label.length))}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="${FONT_PX}" fill="#d5d8e0">
<title>What npm start prints</title>
<rect width="100%" height="100%" rx="8" fill="#1a1b26"/>
${texts.join('\n')}
</svg>
`;
}

function escape(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
