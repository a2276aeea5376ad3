// The one rule for names, so that every derived Postgres identifier fits its 63 bytes and needs no escaping anywhere.

export const maxNameLength = 48;

export type NameRole =
  'entity' | 'view' | 'feature' | 'key' | 'service' | 'dataset' | 'trainingSet' | 'split' | 'token' | 'column';

const roleWords: Record<NameRole, string> = {
  entity: 'an entity',
  view: 'a view',
  feature: 'a feature',
  key: 'a key',
  service: 'a service',
  dataset: 'a dataset',
  trainingSet: 'a training set',
  split: 'a split',
  token: 'a token',
  column: 'a column',
};

/** Columns of ours, of Postgres and of DuckDB that stand in the same table. */
const reservedColumns = new Set([
  'event_timestamp',
  'created_timestamp',
  'write_seq',
  'xmin',
  'xmax',
  'cmin',
  'cmax',
  'ctid',
  'tableoid',
  'rowid',
  'filename',
  'file_row_number',
  'file_index',
]);

const rule = `a name is lower-case letters, digits and single underscores, starts with a letter, and has at most ${maxNameLength} characters`;

/** What is wrong with a name, with the rule and a name that would do; undefined when nothing is. */
export function nameProblem(name: string, role: NameRole): string | undefined {
  const trouble = shapeTrouble(name);
  if (!trouble) return isReserved(name, role) ? reservedProblem(name, role) : undefined;
  const near = suggestName(name, role);
  const hint = near === undefined ? '' : ` Try "${near}".`;
  return `${shown(name)} can't name ${roleWords[role]}: ${trouble}; ${rule}.${hint}`;
}

function isReserved(name: string, role: NameRole): boolean {
  return (role === 'feature' || role === 'key') && reservedColumns.has(name);
}

function reservedProblem(name: string, role: NameRole): string {
  return `${shown(name)} can't name ${roleWords[role]}: it is reserved for a system column. Try "${suggestName(name, role)}".`;
}

function shapeTrouble(name: string): string | undefined {
  if (name === '') return 'it is empty';
  const bad = /[^a-z0-9_]/u.exec(name)?.[0];
  if (bad !== undefined) return `it has ${shownCharacter(bad)}`;
  if (!/^[a-z]/.test(name)) return `it starts with ${shownCharacter(name.charAt(0))}`;
  if (name.includes('__')) return 'it has two underscores in a row';
  if (name.length > maxNameLength) return `it has ${name.length} characters`;
  return undefined;
}

/** Letters of other alphabets that look like Latin ones. */
const lookalikes = new Map(
  [...'аa вb еe кk мm нh оo рp сc тt уy хx іi јj ѕs ԁd һh αa βb εe ιi κk νv οo ρp τt υu χx ıi ɡg ℓl'.split(' ')].map(
    (pair): [string, string] => [pair.charAt(0), pair.slice(1)],
  ),
);

function shownCharacter(character: string): string {
  if (character === ' ') return 'a space';
  if (/^[A-Z]$/.test(character)) return `the capital letter "${character}"`;
  if (/^[!-~]$/.test(character)) return `"${character}"`;
  const code = `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
  const like = lookalikes.get(character.toLowerCase());
  return like === undefined ? `the character ${code}` : `the character ${code}, which only looks like "${like}"`;
}

/** Printable ASCII as it is, anything else escaped, so that no control or right-to-left mark reaches a terminal. */
function shown(name: string): string {
  const cut = name.length > 60 ? `${name.slice(0, 60)}…` : name;
  return JSON.stringify(cut).replace(
    /[^ -~…]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

/** The nearest valid name for a column title, a file name or a bad name; undefined when nothing of it can be kept. */
export function suggestName(text: string, role: NameRole): string | undefined {
  const latin = [...text.slice(0, 200).normalize('NFKD')]
    .map((one) => lookalikes.get(one.toLowerCase()) ?? one)
    .join('');
  const name = latin
    .replace(/\p{M}/gu, '')
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^[0-9_]+/, '')
    .slice(0, maxNameLength)
    .replace(/_+$/, '');
  if (name === '') return undefined;
  return isReserved(name, role) ? `${name}_value` : name;
}
