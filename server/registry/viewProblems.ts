import { CellError, cellFromJson } from '../../contract/cells';
import type { FeatureDefinition, FeatureRule, KeyDefinition, ViewDefinition } from '../../contract/definitions';
import type { Problem } from '../../contract/errors';
import { nameProblem } from '../../contract/names';
import { parseValueType, type ScalarType, type ValueType } from '../../contract/valueTypes';
import { didYouMean } from './nearNames';

/** Where a view contradicts itself or the keys of its entity. Its names and types are known to be good. */
export function viewProblems(view: ViewDefinition, keys: readonly KeyDefinition[], path: string): Problem[] {
  return [
    ...keyProblems(view, keys, path),
    ...sourceProblems(view, keys, `${path}.source`),
    ...view.features.flatMap((feature) => featureProblems(feature, `${path}.features.${feature.name}`)),
  ];
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

function featureProblems(feature: FeatureDefinition, path: string): Problem[] {
  const type = parseValueType(feature.type);
  return (feature.rules ?? []).flatMap((rule, index) =>
    ruleProblems(rule, type, feature.type).map(({ found, expected }) => ({
      path: `${path}.rules.${index}`,
      code: 'bad_rule',
      found,
      expected,
    })),
  );
}

const numeric = ['int32', 'int64', 'float32', 'float64', 'decimal'];
const measured = ['string', 'bytes', 'json', 'list', 'embedding'];

function ruleProblems(rule: FeatureRule, type: ValueType, text: string): { found: string; expected: string }[] {
  const { range, max_length, accepted } = rule;
  const item = itemOf(type);
  if (range !== undefined) {
    const [low, high] = range;
    const found = `range [${low}, ${high}]`;
    if (!numeric.includes(item.kind)) return [{ found: `${found} for ${text}`, expected: 'a range for numbers only' }];
    if (low === null && high === null) return [{ found, expected: 'at least one end of the range' }];
    if (low !== null && high !== null && low > high)
      return [{ found, expected: `the lower end first, as [${high}, ${low}]` }];
  }
  if (max_length !== undefined && !measured.includes(type.kind))
    return [{ found: `max_length for ${text}`, expected: 'max_length for strings, bytes, json and lists only' }];
  return (accepted ?? []).flatMap((value) => {
    try {
      cellFromJson(item, value);
      return [];
    } catch (error) {
      if (error instanceof CellError) return [{ found: `accepted value ${error.found}`, expected: error.expected }];
      throw error;
    }
  });
}

/** Range and accepted values of a list are about its elements. */
function itemOf(type: ValueType): ScalarType {
  if (type.kind === 'embedding') return { kind: 'float32' };
  return type.kind === 'list' ? type.item : type;
}
