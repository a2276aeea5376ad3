const MOST_QUERY_TERMS = 16;
const LONGEST_TERM = 64;

/** Words that stand in most sentences and tell nothing. */
const stopWords = new Set(
  'a an and are as at be by do does for from has how in into is it its of on or per than that the their this to was were what when where which who with'.split(
    ' ',
  ),
);

/** The words of an indexed field, lower-case and without accents; a name such as `dep_delay` or `depDelay` whole and in its parts. */
export function termsOf(text: string, field?: string): string[] {
  const terms: string[] = [];
  for (const word of wordsOf(text)) {
    const parts = partsOf(word);
    terms.push(...parts);
    if (parts.length > 1) terms.push(word.toLowerCase());
  }
  return field === 'description' ? cut(terms).filter((term) => !stopWords.has(term)) : cut(terms);
}

/** The words of a query: parts only, so that `dep_delay`, `depDelay` and `dep delay` ask for the same. */
export function queryTerms(text: string): string[] {
  const terms = [...new Set(cut(wordsOf(text).flatMap(partsOf)))];
  const telling = terms.filter((term) => !stopWords.has(term));
  return (telling.length > 0 ? telling : terms).slice(0, MOST_QUERY_TERMS);
}

function wordsOf(text: string): string[] {
  return (
    text
      .normalize('NFKD')
      .replace(/\p{M}/gu, '')
      .match(/[\p{L}\p{N}_]+/gu) ?? []
  );
}

function partsOf(word: string): string[] {
  return word
    .replace(/(\p{Ll}|\p{N})(\p{Lu})/gu, '$1_$2')
    .toLowerCase()
    .split('_')
    .filter((part) => part !== '');
}

function cut(terms: string[]): string[] {
  return terms.map((term) => term.slice(0, LONGEST_TERM));
}
