import { createHash } from 'node:crypto';
import type { Change } from '../../contract/api';
import { canonicalJson } from '../../contract/canonical';
import type { Definitions, EntityDefinition, ServiceDefinition, ViewDefinition } from '../../contract/definitions';
import { LoftError, type Problem } from '../../contract/errors';
import { FormError } from '../../contract/formError';
import { printJson } from '../../contract/json';
import {
  formatFeatureRef,
  formatViewRef,
  outputColumns,
  parseFeatureRef,
  parseViewRef,
  type FeatureReference,
  type ViewReference,
} from '../../contract/references';
import { makeViewVersion } from './load';
import { didYouMean } from './nearNames';
import {
  changedProperties,
  comparableEntity,
  comparableView,
  keyChanges,
  normalEntity,
  normalService,
  normalView,
  type ChangedProperty,
} from './normalForm';
import { currentVersion } from './resolve';
import type { RegistrySnapshot, Service, ViewVersion } from './snapshot';
import { addColumns, createTable, trashTable } from './tables';
import { viewProblems } from './viewProblems';

export interface ChangeRequest {
  definitions: Definitions;
  /** `view`, `view@v1`, `view:feature`, `entity:name` or `service:name`. */
  remove?: readonly string[] | undefined;
  promote?: boolean | { services: string[] } | undefined;
}

/** What the plan depends on beside the registry's snapshot. */
export interface PlanFacts {
  /** The greatest number that a removed version of a view had: its history may still stand, so numbers are not used again. */
  lastVersions: ReadonlyMap<string, number>;
}

export interface Plan {
  /** For people and programs; empty when everything stands already. */
  changes: Change[];
  /** The same as what is to be done, in order. */
  steps: Step[];
  /** Current versions that a breaking change replaces. It may only while they hold no rows. */
  replaced: { view: string; version: number }[];
}

export type Step =
  | { do: 'putEntity'; entity: EntityDefinition }
  | { do: 'removeEntity'; name: string }
  | { do: 'createVersion'; version: ViewVersion }
  | { do: 'changeVersion'; version: ViewVersion }
  | { do: 'removeVersion'; view: string; version: number }
  | { do: 'putService'; service: Service }
  | { do: 'removeService'; name: string }
  | { do: 'sql'; statement: string };

/**
 * Compares definitions with the registry. A definition is the whole of the object it names; objects not named stay as
 * they are. Throws LoftError 422 `bad_definition` listing every problem with its place.
 */
export function planChanges(snapshot: RegistrySnapshot, facts: PlanFacts, request: ChangeRequest): Plan {
  return new Planner(snapshot, facts, request).plan();
}

/** Names a plan: the same changes at the same registry version. */
export function planHash(registryVersion: number, changes: readonly Change[]): string {
  return createHash('sha256').update(canonicalJson({ registryVersion, changes })).digest('hex');
}

/** `remove` read: what goes. */
interface Removals {
  entities: Set<string>;
  services: Set<string>;
  views: Set<string>;
  versions: { view: string; version: number }[];
  features: Map<string, Set<string>>;
}

class Planner {
  private readonly problems: Problem[] = [];
  private readonly changes: Change[] = [];
  private readonly steps: Step[] = [];
  private readonly replaced: Plan['replaced'] = [];
  /** The registry as it will be. */
  private readonly entities: Map<string, EntityDefinition>;
  private readonly views: Map<string, Map<number, ViewVersion>>;
  private readonly services: Map<string, Service>;
  private readonly removals: Removals = {
    entities: new Set(),
    services: new Set(),
    views: new Set(),
    versions: [],
    features: new Map(),
  };

  constructor(
    private readonly snapshot: RegistrySnapshot,
    private readonly facts: PlanFacts,
    private readonly request: ChangeRequest,
  ) {
    this.entities = new Map(snapshot.entities);
    this.views = new Map([...snapshot.views].map(([name, versions]) => [name, new Map(versions)]));
    this.services = new Map(snapshot.services);
  }

  plan(): Plan {
    const { definitions } = this.request;
    if (this.request.promote !== undefined && this.request.promote !== false)
      this.problem('promote', 'not_supported', undefined, 'no promote: staged versions are not there yet');
    (this.request.remove ?? []).forEach((text, index) => this.readRemoval(text, `remove.${index}`));
    definitions.entities.forEach((entity) => this.planEntity(normalEntity(entity)));
    // Several versions of one view, as an export has them, come in the order of their numbers.
    definitions.views
      .map((view, index) => ({ view, path: `views.${index}` }))
      .sort((a, b) => (a.view.version ?? 0) - (b.view.version ?? 0))
      .forEach(({ view, path }) => this.planView(view, path));
    this.planUnnamedViews();
    this.dropRemovedViews();
    definitions.services.forEach((service, index) => this.planService(normalService(service), `services.${index}`));
    this.planRemovedServices();
    this.planRemovedViews();
    this.planRemovedEntities();
    if (this.problems.length > 0) throw refusal(this.problems);
    return { changes: this.changes, steps: this.steps, replaced: this.replaced };
  }

  private problem(path: string, code: string, found: string | undefined, expected: string): void {
    this.problems.push({ path, code, ...(found === undefined ? {} : { found }), expected });
  }

  // --- removals ---------------------------------------------------------------------------------------------------

  private readRemoval(text: string, path: string): void {
    const [, kind, name] = /^(entity|service):(.*)$/.exec(text) ?? [];
    if (kind === 'entity' && name !== undefined)
      this.readNamedRemoval(name, path, kind, this.snapshot.entities, this.removals.entities);
    else if (kind === 'service' && name !== undefined)
      this.readNamedRemoval(name, path, kind, this.snapshot.services, this.removals.services);
    else if (text.includes(':')) this.readFeatureRemoval(text, path);
    else this.readViewRemoval(text, path);
  }

  private readNamedRemoval(
    name: string,
    path: string,
    kind: 'entity' | 'service',
    there: ReadonlyMap<string, unknown>,
    removed: Set<string>,
  ): void {
    const defined = kind === 'entity' ? this.request.definitions.entities : this.request.definitions.services;
    if (!there.has(name))
      this.problem(path, `unknown_${kind}`, name, `${anA(kind)} that is published.${didYouMean(name, there.keys())}`);
    else if (defined.some((one) => one.name === name))
      this.problem(path, 'contradiction', name, `to remove ${kind} ${name} or to define it, not both`);
    else removed.add(name);
  }

  private readFeatureRemoval(text: string, path: string): void {
    const ref = this.read(text, path, parseFeatureRef);
    if (ref === undefined) return;
    const version = this.versionOf(ref, path);
    if (version === undefined) return;
    const defined = this.request.definitions.views.find((view) => view.name === ref.view);
    if (!version.current)
      this.problem(
        path,
        'not_current',
        text,
        `a feature of the current version; version ${version.version} stays as it is`,
      );
    else if (!version.featuresByName.has(ref.feature))
      this.problem(
        path,
        'unknown_feature',
        text,
        `a feature of view ${ref.view}.${didYouMean(ref.feature, version.featuresByName.keys())}`,
      );
    else if (defined?.features.some((feature) => feature.name === ref.feature))
      this.problem(path, 'contradiction', text, `to remove feature ${ref.feature} or to define it, not both`);
    else
      this.removals.features.set(
        ref.view,
        (this.removals.features.get(ref.view) ?? new Set<string>()).add(ref.feature),
      );
  }

  private readViewRemoval(text: string, path: string): void {
    const ref = this.read(text, path, parseViewRef);
    if (ref === undefined) return;
    const version = this.versionOf(ref, path);
    if (version === undefined) return;
    const others = (this.snapshot.views.get(ref.view)?.size ?? 0) - 1;
    const whole = ref.version === undefined || others === 0;
    const defined = this.request.definitions.views.some(
      (view) => view.name === ref.view && (whole || view.version === ref.version),
    );
    if (defined) this.problem(path, 'contradiction', text, `to remove view ${text} or to define it, not both`);
    else if (whole) this.removals.views.add(ref.view);
    else if (version.current)
      this.problem(
        path,
        'is_current',
        text,
        `a version that is not current, or ${ref.view} to remove all its versions`,
      );
    else this.removals.versions.push({ view: ref.view, version: version.version });
  }

  private read<Ref>(text: string, path: string, parse: (text: string) => Ref): Ref | undefined {
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof FormError)) throw error;
      this.problem(path, 'bad_reference', text, error.expected);
      return undefined;
    }
  }

  /** A published view version that a removal names, or a problem noted. */
  private versionOf(ref: ViewReference, path: string): ViewVersion | undefined {
    const versions = this.snapshot.views.get(ref.view);
    const version = ref.version === undefined ? currentVersion(versions ?? new Map()) : versions?.get(ref.version);
    if (versions === undefined)
      this.problem(
        path,
        'unknown_view',
        ref.view,
        `a view that is published.${didYouMean(ref.view, this.snapshot.views.keys())}`,
      );
    else if (version === undefined)
      this.problem(path, 'unknown_version', formatViewRef(ref), `one of version ${[...versions.keys()].join(', ')}`);
    return version;
  }

  private removedViews(): { view: string; version?: number; versions: number[] }[] {
    const whole = [...this.removals.views].map((view) => ({
      view,
      versions: [...(this.snapshot.views.get(view)?.keys() ?? [])],
    }));
    return [...whole, ...this.removals.versions.map((one) => ({ ...one, versions: [one.version] }))];
  }

  /** Before services are planned: they must not refer to what goes. */
  private dropRemovedViews(): void {
    for (const { view, version, versions } of this.removedViews()) {
      for (const number of versions) this.views.get(view)?.delete(number);
      if (version === undefined) this.views.delete(view);
    }
  }

  /** After services are planned: one that is changed in the same publish may no longer use what goes. */
  private planRemovedViews(): void {
    for (const { view, version, versions } of this.removedViews()) {
      const sql = versions.flatMap((number) => trashTable(view, number, this.snapshot.registryVersion + 1));
      this.changes.push({
        action: 'remove',
        kind: 'view',
        name: view,
        ...(version === undefined ? {} : { version }),
        class: 'breaking',
        properties: [],
        affects: this.usersOf((ref) => ref.view === view && versions.includes(ref.version)),
        sql,
      });
      // First the table, whose lock ends all writing; then what was written.
      this.steps.push(...sql.map((statement): Step => ({ do: 'sql', statement })));
      for (const number of versions) this.steps.push({ do: 'removeVersion', view, version: number });
    }
  }

  private planRemovedServices(): void {
    for (const name of this.removals.services) {
      this.services.delete(name);
      this.changes.push({ action: 'remove', kind: 'service', name, class: 'breaking', ...nothingElse() });
      this.steps.push({ do: 'removeService', name });
    }
  }

  private planRemovedEntities(): void {
    for (const name of this.removals.entities) {
      const users = [...this.views].filter(([, versions]) =>
        [...versions.values()].some((version) => version.definition.entity === name),
      );
      if (users.length > 0)
        this.problem(
          'remove',
          'entity_in_use',
          `entity:${name}`,
          `an entity without views; ${users.map(([view]) => view).join(', ')} would be left without keys: remove them too`,
        );
      this.entities.delete(name);
      this.changes.push({ action: 'remove', kind: 'entity', name, class: 'breaking', ...nothingElse() });
      this.steps.push({ do: 'removeEntity', name });
    }
  }

  /** Services (as they will be) and training sets that read what `uses` says. */
  private usersOf(uses: (ref: Required<FeatureReference>) => boolean): Change['affects'] {
    const services = [...this.services]
      .filter(([name, service]) => !this.removals.services.has(name) && service.resolved.some(uses))
      .map(([name]) => name);
    const sets = this.snapshot.trainingSets.filter((set) => set.features.some(uses)).map((set) => set.name);
    return { services, trainingSets: [...new Set(sets)] };
  }

  // --- entities ---------------------------------------------------------------------------------------------------

  private planEntity(entity: EntityDefinition): void {
    const before = this.snapshot.entities.get(entity.name);
    this.entities.set(entity.name, entity);
    if (before === undefined) {
      this.changes.push({
        action: 'create',
        kind: 'entity',
        name: entity.name,
        class: 'additive',
        ...nothingElse(),
        properties: changedProperties({}, comparableEntity(entity)),
      });
      this.steps.push({ do: 'putEntity', entity });
      return;
    }
    const keys = keyChanges(before.keys, entity.keys);
    const properties = [
      ...changedProperties(comparableEntity({ ...before, keys: [] }), comparableEntity({ ...entity, keys: [] })),
      ...keys,
    ];
    if (properties.length === 0) return;
    const views = new Set(
      [...this.snapshot.views.values()]
        .map((versions) => currentVersion(versions))
        .filter((version) => version?.definition.entity === entity.name)
        .map((version) => `${version?.name}@${version?.version}`),
    );
    this.changes.push({
      action: 'update',
      kind: 'entity',
      name: entity.name,
      class: keys.length > 0 ? 'breaking' : 'metadata',
      properties,
      affects: keys.length > 0 ? this.usersOf((ref) => views.has(`${ref.view}@${ref.version}`)) : nothingElse().affects,
      sql: [],
    });
    this.steps.push({ do: 'putEntity', entity });
  }

  // --- views ------------------------------------------------------------------------------------------------------

  private planView(written: ViewDefinition, path: string): void {
    const definition = normalView(written);
    const entity = this.entities.get(definition.entity);
    if (entity === undefined || this.removals.entities.has(definition.entity)) {
      const known = [...this.entities.keys()].filter((name) => !this.removals.entities.has(name));
      this.problem(
        `${path}.entity`,
        'unknown_entity',
        definition.entity,
        `an entity that is defined here or published.${didYouMean(definition.entity, known)}`,
      );
      return;
    }
    const versions = this.views.get(definition.name);
    const base = written.version === undefined ? currentVersion(versions ?? new Map()) : versions?.get(written.version);
    const keys = base !== undefined && !base.current ? base.entity.keys : entity.keys;
    this.problems.push(...viewProblems(definition, keys, path));
    if (base === undefined) this.planNewVersion(definition, entity, written.version, path);
    else this.planChangedVersion(base, definition, { ...entity, keys }, written.version !== undefined, path);
  }

  /** Views that nobody defined anew and that change all the same: their entity's keys did, or a feature is removed. */
  private planUnnamedViews(): void {
    const named = new Set(this.request.definitions.views.map((view) => view.name));
    for (const [name, versions] of this.snapshot.views) {
      const base = currentVersion(versions);
      if (base === undefined || this.removals.views.has(name)) continue;
      if (named.has(name)) continue; // its definition is the whole: what it leaves out is removed
      const removed = this.removals.features.get(name);
      const entity = this.entities.get(base.definition.entity) ?? base.entity;
      if (removed === undefined && keyChanges(base.entity.keys, entity.keys).length === 0) continue;
      const features = base.definition.features.filter((feature) => !removed?.has(feature.name));
      if (features.length === 0) {
        this.problem('remove', 'feature_count', name, `at least one feature to stay; remove the view ${name} instead`);
        continue;
      }
      this.planChangedVersion(base, { ...base.definition, features }, entity, false, `views.${name}`);
    }
  }

  /** The first version of a view, or a numbered one of an imported file. */
  private planNewVersion(
    definition: ViewDefinition,
    entity: EntityDefinition,
    wanted: number | undefined,
    path: string,
  ): void {
    const versions = this.views.get(definition.name);
    const number = wanted ?? this.nextVersion(definition.name);
    if (number < this.nextVersion(definition.name)) {
      this.problem(
        `${path}.version`,
        'version_taken',
        String(number),
        `a version of ${definition.name} that stands, or a new one from ${this.nextVersion(definition.name)} on`,
      );
      return;
    }
    const base = currentVersion(this.snapshot.views.get(definition.name) ?? new Map());
    const version = makeViewVersion({ version: number, current: true, definition, entity });
    this.createVersion(version);
    if (base !== undefined) this.replaced.push({ view: base.name, version: base.version });
    this.changes.push({
      action: 'create',
      kind: 'view',
      name: version.name,
      version: number,
      class: base === undefined ? 'additive' : 'breaking',
      // Of what is new too: the plan's hash stands for all of it.
      properties: changedProperties({}, comparableView(definition, entity.keys)),
      affects:
        versions === undefined || base === undefined
          ? nothingElse().affects
          : this.usersOf((ref) => ref.view === base.name && ref.version === base.version),
      sql: [createTable(version)],
    });
  }

  private planChangedVersion(
    base: ViewVersion,
    written: ViewDefinition,
    entity: EntityDefinition,
    pinned: boolean,
    path: string,
  ): void {
    const definition = inStoredOrder(base.definition, written);
    const keys = keyChanges(base.entity.keys, entity.keys);
    // The usual case by far: both were put in normal form by the same function, so the same is the same text.
    if (keys.length === 0 && printJson(definition) === printJson(base.definition)) return;
    const properties = [
      ...changedProperties(comparableView(base.definition, []), comparableView(definition, [])),
      ...keys,
    ];
    if (properties.length === 0) return;
    const wanted = new Map(definition.features.map((feature) => [feature.name, feature]));
    const added = definition.features.filter((feature) => !base.featuresByName.has(feature.name));
    const breaking = properties.filter((property) => breaks(property, base, wanted));
    if (breaking.length === 0) {
      const version = makeViewVersion({ version: base.version, current: base.current, definition, entity });
      this.views.get(base.name)?.set(base.version, version);
      const columns = version.features.filter((feature) => added.some(({ name }) => name === feature.name));
      const sql = columns.length === 0 ? [] : [addColumns(base.name, base.version, columns)];
      this.steps.push(...sql.map((statement): Step => ({ do: 'sql', statement })));
      this.steps.push({ do: 'changeVersion', version });
      this.noteViewChange(base, base.version, columns.length === 0 ? 'metadata' : 'additive', properties, sql);
      return;
    }
    if (pinned) {
      this.problem(
        `${path}.version`,
        'version_is_fixed',
        `${breaking.map((property) => property.path).join(', ')} changed`,
        `version ${base.version} as it is; leave \`version\` out to make version ${this.nextVersion(base.name)}`,
      );
      return;
    }
    // All of the view's changes go into the next version, in the order written; the one before stays as it was.
    const version = makeViewVersion({
      version: this.nextVersion(base.name),
      current: true,
      definition: written,
      entity,
    });
    this.createVersion(version);
    this.replaced.push({ view: base.name, version: base.version });
    this.noteViewChange(base, version.version, 'breaking', properties, [createTable(version)]);
  }

  /** A deprecation is an action of its own; the view's other changes are one. */
  private noteViewChange(
    base: ViewVersion,
    version: number,
    kind: Change['class'],
    properties: ChangedProperty[],
    sql: string[],
  ): void {
    const deprecations = properties.filter((property) => isDeprecation(property, base));
    const others = properties.filter((property) => !deprecations.includes(property));
    if (others.length > 0) {
      const whole = others.some((property) => featureOf(property) === undefined);
      const features = new Set(others.map(featureOf));
      this.changes.push({
        action: 'update',
        kind: 'view',
        name: base.name,
        version,
        class: kind,
        properties: others,
        affects: this.usersOf(
          (ref) => ref.view === base.name && ref.version === base.version && (whole || features.has(ref.feature)),
        ),
        sql,
      });
    }
    for (const property of deprecations) {
      const feature = featureOf(property) ?? '';
      this.changes.push({
        action: 'deprecate',
        kind: 'feature',
        name: formatFeatureRef({ view: base.name, feature }),
        version,
        class: 'metadata',
        properties: [property],
        affects: this.usersOf(
          (ref) => ref.view === base.name && ref.version === base.version && ref.feature === feature,
        ),
        sql: [],
      });
    }
  }

  private nextVersion(view: string): number {
    const last = Math.max(0, this.facts.lastVersions.get(view) ?? 0, ...(this.views.get(view)?.keys() ?? []));
    return last + 1;
  }

  private createVersion(version: ViewVersion): void {
    const versions = this.views.get(version.name) ?? new Map<number, ViewVersion>();
    for (const [number, other] of versions) versions.set(number, { ...other, current: false });
    this.views.set(version.name, versions.set(version.version, version));
    this.steps.push({ do: 'createVersion', version }, { do: 'sql', statement: createTable(version) });
  }

  // --- services ---------------------------------------------------------------------------------------------------

  private planService(definition: ServiceDefinition, path: string): void {
    const before = this.snapshot.services.get(definition.name);
    const kept = new Map(before?.definition.features.map((text, index) => [text, before.resolved[index]]));
    const resolved: Required<FeatureReference>[] = [];
    definition.features.forEach((text, index) => {
      const ref = this.resolve(text, kept.get(text), `${path}.features.${index}`);
      if (ref !== undefined) resolved.push(ref);
    });
    if (resolved.length < definition.features.length) return;
    try {
      outputColumns(resolved, false);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      this.problem(`${path}.features`, 'duplicate', undefined, error.message);
      return;
    }
    const service: Service = { definition, resolved };
    this.services.set(definition.name, service);
    const { name: _name, ...words } = definition;
    if (before === undefined) {
      this.changes.push({
        action: 'create',
        kind: 'service',
        name: definition.name,
        class: 'additive',
        ...nothingElse(),
        properties: changedProperties({}, words),
      });
      this.steps.push({ do: 'putService', service });
      return;
    }
    const properties = changedProperties(before.definition, definition);
    if (properties.length === 0) return;
    const gone = before.definition.features.some((text) => !definition.features.includes(text));
    const more = definition.features.some((text) => !before.definition.features.includes(text));
    this.changes.push({
      action: 'update',
      kind: 'service',
      name: definition.name,
      class: gone ? 'breaking' : more ? 'additive' : 'metadata',
      properties,
      affects: { services: [definition.name], trainingSets: [] },
      sql: [],
    });
    this.steps.push({ do: 'putService', service });
  }

  /** A service's reference keeps the version it had when first published; else it is the current one now. */
  private resolve(
    text: string,
    kept: Required<FeatureReference> | undefined,
    path: string,
  ): Required<FeatureReference> | undefined {
    const ref = kept ?? this.read(text, path, parseFeatureRef);
    if (ref === undefined) return undefined;
    const versions = this.views.get(ref.view);
    const version = ref.version === undefined ? currentVersion(versions ?? new Map()) : versions?.get(ref.version);
    if (versions === undefined)
      this.problem(
        path,
        'unknown_view',
        text,
        `a view that is defined here or published.${didYouMean(ref.view, this.views.keys())}`,
      );
    else if (version === undefined)
      this.problem(path, 'unknown_version', text, `one of version ${[...versions.keys()].join(', ')} of ${ref.view}`);
    else if (!version.featuresByName.has(ref.feature))
      this.problem(
        path,
        'unknown_feature',
        text,
        `a feature of ${formatViewRef({ view: ref.view, version: version.version })}.${didYouMean(ref.feature, version.featuresByName.keys())}`,
      );
    else return { view: ref.view, version: version.version, feature: ref.feature };
    return undefined;
  }
}

/** The features that stand keep their order, new ones follow: where a feature is written says nothing. */
function inStoredOrder(stored: ViewDefinition, written: ViewDefinition): ViewDefinition {
  const wanted = new Map(written.features.map((feature) => [feature.name, feature]));
  const kept = stored.features.flatMap(({ name }) => wanted.get(name) ?? []);
  const added = written.features.filter((feature) => !kept.includes(feature));
  return { ...written, features: [...kept, ...added] };
}

function breaks(property: ChangedProperty, base: ViewVersion, wanted: ReadonlyMap<string, unknown>): boolean {
  if (property.path === 'entity' || /^keys(\.|$)/.test(property.path)) return true;
  const feature = featureOf(property);
  if (feature === undefined || !base.featuresByName.has(feature)) return false;
  return !wanted.has(feature) || property.path.endsWith('.type');
}

function isDeprecation(property: ChangedProperty, base: ViewVersion): boolean {
  const feature = featureOf(property);
  return (
    feature !== undefined &&
    property.path === `features.${feature}.deprecated` &&
    property.old === undefined &&
    base.featuresByName.has(feature)
  );
}

function featureOf(property: ChangedProperty): string | undefined {
  return /^features\.([^.]+)\./.exec(property.path)?.[1];
}

function nothingElse(): Pick<Change, 'properties' | 'affects' | 'sql'> {
  return { properties: [], affects: { services: [], trainingSets: [] }, sql: [] };
}

function anA(kind: string): string {
  return kind === 'entity' ? 'an entity' : `a ${kind}`;
}

function refusal(problems: Problem[]): LoftError {
  const first = problems[0];
  const found = first?.found === undefined ? '' : `found ${first.found}, `;
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  const detail = `${first?.path}: ${found}expected ${first?.expected}${more}`;
  return new LoftError(422, 'bad_definition', /[.?]$/.test(detail) ? detail : `${detail}.`, { problems });
}
