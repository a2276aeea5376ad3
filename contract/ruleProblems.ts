import { CellError, cellFromJson } from './cells';
import type { FeatureRule } from './definitions';
import type { Problem } from './errors';
import type { ScalarType, ValueType } from './valueTypes';

const numeric: readonly string[] = ['int32', 'int64', 'float32', 'float64', 'decimal'];
const measurable: readonly string[] = ['string', 'bytes', 'json', 'list', 'embedding'];

/** Why a rule cannot be asked of a type: it would refuse every value, or none. `path` is the rule's own. */
export function ruleProblems(rule: FeatureRule, type: ValueType, path: string): Problem[] {
  const scalar = scalarOf(type);
  if (rule.range !== undefined) {
    const [low, high] = rule.range;
    if (!numeric.includes(scalar.kind))
      return [{ path: `${path}.range`, code: 'rule_unfit', found: scalar.kind, expected: 'a number type for a range' }];
    if (low !== null && high !== null && low > high)
      return [
        { path: `${path}.range`, code: 'rule_unfit', found: `${low} to ${high}`, expected: 'the lower end first' },
      ];
  }
  if (rule.max_length !== undefined && !measurable.includes(type.kind))
    return [
      {
        path: `${path}.max_length`,
        code: 'rule_unfit',
        found: type.kind,
        expected: `a type that has a length: ${measurable.join(', ')}`,
      },
    ];
  return (rule.accepted ?? []).flatMap((value, index) => {
    try {
      cellFromJson(scalar, value);
      return [];
    } catch (error) {
      if (!(error instanceof CellError)) throw error;
      return [{ path: `${path}.accepted.${index}`, code: 'rule_unfit', found: error.found, expected: error.expected }];
    }
  });
}

/** A list's range and accepted values are about each of its elements. */
function scalarOf(type: ValueType): ScalarType {
  if (type.kind === 'list') return type.item;
  return type.kind === 'embedding' ? { kind: 'float32' } : type;
}
