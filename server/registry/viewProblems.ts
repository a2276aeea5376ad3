import type { KeyDefinition, ViewDefinition } from '../../contract/definitions';
import type { Problem } from '../../contract/errors';
import { nameProblem } from '../../contract/names';
import { didYouMean } from './nearNames';

/** Where a view contradicts the keys of its entity, or has a source that it can't have. What it says by itself is known to be good. */
export function viewProblems(view: ViewDefinition, keys: readonly KeyDefinition[], path: string): Problem[] {
  return [...keyProblems(view, keys, path), ...sourceProblems(view, keys, `${path}.source`)];
}

function keyProblems(view: ViewDefinition, keys: readonly KeyDefinition[], path: string): Problem[] {
  return keys
    .filter((key) => view.features.some((feature) => feature.name === key.name))
    .map(({ name }) => ({
      path: `${path}.features.${name}`,
      code: 'feature_named_as_key',
      found: name,
      expected: `another name: ${name} is a key of entity ${view.entity}`,
    }));
}

function sourceProblems({ source, features }: ViewDefinition, keys: readonly KeyDefinition[], path: string): Problem[] {
  if (source === undefined) return [];
  const problems: Problem[] = [];
  if ('file' in source)
    problems.push({
      path: `${path}.file`,
      code: 'file_source',
      found: source.file,
      expected: 'source: {dataset: name}; upload the file as a dataset first (the featureloft client does both)',
    });
  else {
    const expected = nameProblem(source.dataset, 'dataset');
    if (expected !== undefined)
      problems.push({ path: `${path}.dataset`, code: 'bad_name', found: source.dataset, expected });
  }
  const columns = [...keys, ...features].map(({ name }) => name);
  for (const name of Object.keys(source.columns ?? {}))
    if (!columns.includes(name))
      problems.push({
        path: `${path}.columns.${name}`,
        code: 'unknown_feature',
        found: name,
        expected: `a feature or key of the view, and for it the column of the file.${didYouMean(name, columns)}`,
      });
  return problems;
}
