import { z } from 'zod';
import { parseDuration } from './durations';
import { LoftError, type Problem } from './errors';
import { FormError } from './formError';
import { nameProblem, type NameRole } from './names';
import { parseFeatureRef } from './references';
import { ruleProblems } from './ruleProblems';
import { timeZoneProblem } from './timeZones';
import { columnWidth, isKeyType, parseValueType } from './valueTypes';

/** Limits of one view, so that a row fits a Postgres page (semantics.md). */
const MAX_FEATURES = 800;
const MAX_ROW_BYTES = 7_500;

const Name = z.string();
const Text = z.string().max(10_000);
const Tags = z.array(z.string().min(1).max(100)).max(50);
const common = { description: Text.optional(), owner: z.string().max(200).optional(), tags: Tags.optional() };

const Rule = z
  .strictObject({
    range: z.tuple([z.number().nullable(), z.number().nullable()]).optional(),
    accepted: z
      .array(z.union([z.string(), z.number(), z.boolean()]))
      .min(1)
      .max(1_000)
      .optional(),
    not_null: z.literal(true).optional(),
    max_length: z.int().min(0).optional(),
    on: z.enum(['reject', 'warn']).default('reject'),
  })
  .refine(
    (rule) =>
      [rule.range, rule.accepted, rule.not_null, rule.max_length].filter((part) => part !== undefined).length === 1,
    {
      message: 'one of range, accepted, not_null or max_length',
    },
  );
export type FeatureRule = z.infer<typeof Rule>;

const featureProperties = {
  type: z.string(),
  description: Text.optional(),
  tags: Tags.optional(),
  deprecated: Text.optional(),
  sensitive: z.boolean().optional(),
  rules: z.array(Rule).max(20).optional(),
};

const sourceProperties = {
  event_timestamp: z.string().optional(),
  created_timestamp: z.string().optional(),
  timezone: z.string().optional(),
  columns: z.record(z.string(), z.string()).optional(),
};
/** Where rows come from. `file` is for clients only: they upload it and publish `dataset`. */
const Source = z.union([
  z.strictObject({ dataset: z.string(), ...sourceProperties }),
  z.strictObject({ file: z.string(), ...sourceProperties }),
]);
export type SourceDefinition = z.infer<typeof Source>;

/** As people write it: the JSON or YAML form of api.md. Strict: an unknown property is a mistake, not a comment. */
export const DefinitionsInput = z
  .strictObject({
    entities: z.array(z.strictObject({ name: Name, keys: z.record(z.string(), z.string()), ...common })).default([]),
    views: z
      .array(
        z.strictObject({
          name: Name,
          version: z.int().min(1).optional(),
          entity: Name,
          ttl: z.union([z.string(), z.literal(0)], 'a duration such as 3h').optional(),
          freshness: z.string().optional(),
          allow_future_events: z.boolean().optional(),
          source: Source.optional(),
          features: z.record(
            z.string(),
            z.union(
              [z.string(), z.strictObject(featureProperties)],
              'a type such as float64, or {type, description, …}',
            ),
          ),
          ...common,
        }),
      )
      .default([]),
    services: z
      .array(z.strictObject({ name: Name, features: z.array(z.string()).min(1).max(2_000), ...common }))
      .default([]),
  })
  .meta({ id: 'Definitions' });

export interface KeyDefinition {
  name: string;
  type: string;
}
interface Described {
  description?: string | undefined;
  owner?: string | undefined;
  tags?: string[] | undefined;
}
export interface EntityDefinition extends Described {
  name: string;
  /** In the order written; this is the order of the primary key. */
  keys: KeyDefinition[];
}
export interface FeatureDefinition {
  name: string;
  /** Text of the type, as `float64` or `decimal(10,2)`. */
  type: string;
  description?: string | undefined;
  tags?: string[] | undefined;
  deprecated?: string | undefined;
  sensitive?: boolean | undefined;
  rules?: FeatureRule[] | undefined;
}
export interface ViewDefinition extends Described {
  name: string;
  version?: number | undefined;
  entity: string;
  /** As written, such as `3h`; absent means for ever. */
  ttl?: string | undefined;
  freshness?: string | undefined;
  allow_future_events?: boolean | undefined;
  source?: SourceDefinition | undefined;
  features: FeatureDefinition[];
}
export interface ServiceDefinition extends Described {
  name: string;
  /** As written: `view:feature` or `view@v2:feature`. */
  features: string[];
}
/** The normal form: what the registry stores and plans with. */
export interface Definitions {
  entities: EntityDefinition[];
  views: ViewDefinition[];
  services: ServiceDefinition[];
}

/**
 * Reads definitions as parsed from JSON or YAML into their normal form.
 * Throws LoftError 422 `bad_definition` that lists every problem with its dotted path. Checks what can be known from
 * the definitions alone; whether an entity or a referenced feature exists is the plan's business.
 */
export function readDefinitions(raw: unknown): Definitions {
  const problems: Problem[] = [];
  checkRawNames(raw, problems);
  // The schema library may lose this one, and what is left would be blamed for it.
  if (problems.some(({ found }) => found === '"__proto__"')) throw refusal(problems);
  const parsed = DefinitionsInput.safeParse(raw);
  if (!parsed.success) {
    // An unknown property of the whole has been named already.
    const issues = parsed.error.issues.filter(({ code, path }) => code !== 'unrecognized_keys' || path.length > 0);
    throw refusal([...problems, ...issues.flatMap(problemsOfIssue)]);
  }
  const definitions = normalise(parsed.data);
  checkDefinitions(definitions, problems);
  if (problems.length > 0) throw refusal(problems);
  return definitions;
}

function refusal(problems: Problem[]): LoftError {
  const first = problems[0];
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  const where = first?.path ? `${first.path}: ` : '';
  const found = first?.found === undefined ? '' : `found ${first.found}, `;
  return new LoftError(
    422,
    'bad_definition',
    sentence(`${where}${found}expected ${first?.expected ?? 'a valid definition'}${more}`),
    {
      problems,
    },
  );
}

function sentence(words: string): string {
  return /[.?]$/.test(words) ? words : `${words}.`;
}

/** In our words: "found … expected …", an unknown property at its own place. */
function problemsOfIssue(issue: z.core.$ZodIssue): Problem[] {
  const path = issue.path.join('.');
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({
      path: `${path}.${key}`,
      code: 'unknown_property',
      found: JSON.stringify(key),
      expected: 'a property that there is',
    }));
  return [{ path, code: 'bad_definition', expected: issue.message.replace(/^Invalid input: expected /, '') }];
}

/** Names are checked on the raw object, because a schema library may lose a key named `__proto__`. */
function checkRawNames(raw: unknown, problems: Problem[]): void {
  const check = (owner: unknown, member: string, role: NameRole, path: string): void => {
    const inner = ownMember(owner, member);
    if (!isObject(inner)) return;
    for (const name of Object.getOwnPropertyNames(inner)) {
      const expected = nameProblem(name, role);
      if (expected)
        problems.push({ path: `${path}.${member}`, code: 'bad_name', found: JSON.stringify(name), expected });
    }
  };
  if (!isObject(raw)) return;
  for (const name of Object.getOwnPropertyNames(raw)) {
    if (!['entities', 'views', 'services'].includes(name))
      problems.push({
        path: '',
        code: 'unknown_property',
        found: JSON.stringify(name),
        expected: 'entities, views or services',
      });
  }
  itemsOf(raw, 'entities').forEach((item, index) => check(item, 'keys', 'key', `entities.${index}`));
  itemsOf(raw, 'views').forEach((item, index) => {
    check(item, 'features', 'feature', `views.${index}`);
    check(ownMember(item, 'source'), 'columns', 'column', `views.${index}.source`);
  });
}

function itemsOf(raw: object, member: string): unknown[] {
  const value = ownMember(raw, member);
  return Array.isArray(value) ? value : [];
}

function ownMember(owner: unknown, member: string): unknown {
  return isObject(owner) ? Object.getOwnPropertyDescriptor(owner, member)?.value : undefined;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function normalise(input: z.infer<typeof DefinitionsInput>): Definitions {
  return {
    entities: input.entities.map(({ keys, ...rest }) => ({
      ...rest,
      keys: Object.entries(keys).map(([name, type]) => ({ name, type })),
    })),
    views: input.views.map(({ features, ttl, ...rest }) => ({
      ...rest,
      ...(ttl === undefined || ttl === 0 || isZero(ttl) ? {} : { ttl }),
      features: Object.entries(features).map(([name, feature]) =>
        typeof feature === 'string' ? { name, type: feature } : { name, ...feature },
      ),
    })),
    services: input.services,
  };
}

/** A ttl of zero means for ever, the same as none (semantics.md). */
function isZero(duration: string): boolean {
  return /^0+[smhd]$/.test(duration);
}

function checkDefinitions(definitions: Definitions, problems: Problem[]): void {
  const named = (name: string, role: NameRole, path: string): void => {
    const expected = nameProblem(name, role);
    if (expected) problems.push({ path: `${path}.name`, code: 'bad_name', found: JSON.stringify(name), expected });
  };
  definitions.entities.forEach((entity, index) => {
    const path = `entities.${index}`;
    named(entity.name, 'entity', path);
    if (entity.keys.length === 0)
      problems.push({ path: `${path}.keys`, code: 'no_keys', expected: 'at least one join key' });
    if (entity.keys.length > 16)
      problems.push({ path: `${path}.keys`, code: 'too_many_keys', expected: 'at most 16 join keys' });
    for (const key of entity.keys) {
      const type = checkType(key, `${path}.keys.${key.name}`, problems);
      if (type && !isKeyType(type))
        problems.push({
          path: `${path}.keys.${key.name}`,
          code: 'bad_key_type',
          found: key.type,
          expected: 'a key type: bool, int32, int64, string, date, timestamp, uuid or decimal',
        });
    }
  });
  definitions.views.forEach((view, index) => checkView(view, `views.${index}`, named, problems));
  definitions.services.forEach((service, index) => {
    named(service.name, 'service', `services.${index}`);
    service.features.forEach((ref, at) => {
      try {
        parseFeatureRef(ref);
      } catch (error) {
        problems.push({
          path: `services.${index}.features.${at}`,
          code: 'bad_reference',
          found: ref,
          expected: expectedBy(error),
        });
      }
    });
    checkUnique(service.features, `services.${index}.features`, 'reference', problems);
  });
  checkUnique(
    definitions.entities.map((entity) => entity.name),
    'entities',
    'entity',
    problems,
  );
  checkUnique(
    definitions.views.map((view) => `${view.name}@${view.version ?? ''}`),
    'views',
    'view',
    problems,
  );
  checkUnique(
    definitions.services.map((service) => service.name),
    'services',
    'service',
    problems,
  );
}

function checkView(
  view: ViewDefinition,
  path: string,
  named: (name: string, role: NameRole, path: string) => void,
  problems: Problem[],
): void {
  named(view.name, 'view', path);
  for (const property of ['ttl', 'freshness'] as const) {
    const duration = view[property];
    if (duration === undefined) continue;
    try {
      parseDuration(duration);
    } catch (error) {
      problems.push({
        path: `${path}.${property}`,
        code: 'bad_duration',
        found: duration,
        expected: expectedBy(error),
      });
    }
  }
  const timezone = view.source?.timezone;
  const zoneProblem = timezone === undefined ? undefined : timeZoneProblem(timezone);
  if (timezone !== undefined && zoneProblem !== undefined)
    problems.push({ path: `${path}.source.timezone`, code: 'bad_timezone', found: timezone, expected: zoneProblem });
  const count = view.features.length;
  if (count === 0 || count > MAX_FEATURES)
    problems.push({
      path: `${path}.features`,
      code: 'feature_count',
      found: String(count),
      expected: `1 to ${MAX_FEATURES} features`,
    });
  let width = 0;
  for (const feature of view.features) {
    const type = checkType(feature, `${path}.features.${feature.name}`, problems);
    if (type === undefined) continue;
    width += columnWidth(type);
    feature.rules?.forEach((rule, at) =>
      problems.push(...ruleProblems(rule, type, `${path}.features.${feature.name}.rules.${at}`)),
    );
  }
  if (width > MAX_ROW_BYTES)
    problems.push({
      path: `${path}.features`,
      code: 'row_too_wide',
      found: `${width} bytes`,
      expected: `at most ${MAX_ROW_BYTES} bytes of columns a view (a variable-length one counts 20 plus alignment): split it into two views`,
    });
}

/** The parsed type, or a problem noted. */
function checkType(
  owner: { type: string },
  path: string,
  problems: Problem[],
): ReturnType<typeof parseValueType> | undefined {
  try {
    return parseValueType(owner.type);
  } catch (error) {
    problems.push({ path: `${path}.type`, code: 'bad_type', found: owner.type, expected: expectedBy(error) });
    return undefined;
  }
}

function checkUnique(values: string[], path: string, what: string, problems: Problem[]): void {
  const seen = new Set<string>();
  for (const value of values) {
    if (seen.has(value)) problems.push({ path, code: 'duplicate', found: value, expected: `each ${what} once` });
    seen.add(value);
  }
}

function expectedBy(error: unknown): string {
  if (error instanceof FormError) return error.expected;
  throw error;
}
