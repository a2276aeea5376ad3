// The one rule for names, so that every derived Postgres identifier fits its 63 bytes and needs no escaping anywhere.

export const maxNameLength = 48;

export type NameRole =
  'entity' | 'view' | 'feature' | 'key' | 'service' | 'dataset' | 'trainingSet' | 'split' | 'token' | 'column';

const roleWords: Record<NameRole, string> = {
  entity: 'an entity name',
  view: 'a view name',
  feature: 'a feature name',
  key: 'a key name',
  service: 'a service name',
  dataset: 'a dataset name',
  trainingSet: 'a training set name',
  split: 'a split name',
  token: 'a token name',
  column: 'a column name',
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

const rule = `of lower-case letters, digits and single underscores that starts with a letter, at most ${maxNameLength} characters`;

/**
 * What is expected of a name that can't be, why it can't, and a name that can; to stand after "expected". Undefined for a good name. It
 * shows nothing of the name but one printable character, so that no control or right-to-left mark reaches a terminal.
 */
export function nameProblem(name: string, role: NameRole): string | undefined {
  const trouble = shapeTrouble(name);
  if (!trouble && !isReserved(name, role)) return undefined;
  const suggestion = suggestName(name, role);
  const hint = suggestion === undefined ? '' : `. Did you mean ${suggestion}?`;
  if (!trouble) return `${roleWords[role]} that is not reserved for a system column${hint}`;
  return `${roleWords[role]} ${rule}; this one ${trouble}${hint}`;
}

function isReserved(name: string, role: NameRole): boolean {
  return (role === 'feature' || role === 'key') && reservedColumns.has(name);
}

function shapeTrouble(name: string): string | undefined {
  if (name === '') return 'is empty';
  const bad = /[^a-z0-9_]/u.exec(name)?.[0];
  if (bad !== undefined) return `has ${shownCharacter(bad)}`;
  if (!/^[a-z]/.test(name)) return `starts with ${shownCharacter(name.charAt(0))}`;
  if (name.includes('__')) return 'has two underscores in a row';
  if (name.length > maxNameLength) return `has ${name.length} characters`;
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
