import { LoftError, type Problem } from '../../contract/errors';
import { FormError } from '../../contract/formError';
import { formatFeatureRef, outputColumns, parseFeatureRef, parseViewRef } from '../../contract/references';
import type { FeatureReference, ViewReference } from '../../contract/references';
import { didYouMean } from './nearNames';
import type { RegistrySnapshot, Service, TypedColumn, ViewVersion } from './snapshot';

/** A feature asked for, found: which version of which view, and its column in the result. */
export interface ResolvedFeature {
  ref: Required<FeatureReference>;
  view: ViewVersion;
  feature: TypedColumn;
  column: string;
}

/**
 * The features of a list of references or of a service, in their order. Throws LoftError 422 `features_or_service`,
 * `bad_reference` or `duplicate_feature`, 404 `unknown_view`, `unknown_version`, `unknown_feature` or
 * `unknown_service`; every bad reference is listed with near matches.
 */
export function resolveFeatures(
  snapshot: RegistrySnapshot,
  request: { features?: string[] | undefined; service?: string | undefined; fullNames?: boolean | undefined },
): ResolvedFeature[] {
  if ((request.features === undefined) === (request.service === undefined))
    throw new LoftError(
      422,
      'features_or_service',
      'Ask either for features (a list of view:feature) or for a service.',
    );
  const found =
    request.service === undefined
      ? resolveEach(request.features ?? [], 'features', (text) => resolveRef(snapshot, parseFeatureRef(text)))
      : resolveEach(resolveService(snapshot, request.service).resolved, 'service', (ref) => resolveRef(snapshot, ref));
  return named(found, request.fullNames ?? false);
}

type Found = Omit<ResolvedFeature, 'column'>;

function resolveEach<Reference>(
  references: readonly Reference[],
  path: string,
  resolve: (reference: Reference) => Found,
): Found[] {
  const found: Found[] = [];
  const problems: Problem[] = [];
  let status = 404;
  references.forEach((reference, index) => {
    try {
      found.push(resolve(reference));
    } catch (error) {
      const refusal = asRefusal(error);
      if (refusal.status === 422) status = 422;
      const text = typeof reference === 'string' ? reference : formatFeatureRef(reference as FeatureReference);
      problems.push({ path: `${path}.${index}`, code: refusal.code, found: text, expected: refusal.detail });
    }
  });
  const first = problems[0];
  if (first === undefined) return found;
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  throw new LoftError(status, first.code, `${first.expected ?? ''}${more}`, { problems });
}

/** Reference texts are refused with a FormError that holds the words. */
function asRefusal(error: unknown): LoftError {
  if (error instanceof LoftError) return error;
  if (error instanceof FormError) return new LoftError(422, 'bad_reference', error.message);
  throw error;
}

function named(found: Found[], fullNames: boolean): ResolvedFeature[] {
  try {
    const columns = outputColumns(
      found.map(({ ref }) => ref),
      fullNames,
    );
    return found.map((one, index) => ({ ...one, column: columns[index] ?? one.feature.name }));
  } catch (error) {
    if (error instanceof TypeError) throw new LoftError(422, 'duplicate_feature', error.message);
    throw error;
  }
}

/** One feature reference. Throws LoftError 404. */
export function resolveRef(snapshot: RegistrySnapshot, ref: FeatureReference): Found {
  const view = findView(snapshot, ref);
  const feature = view.featuresByName.get(ref.feature);
  if (feature === undefined)
    throw new LoftError(
      404,
      'unknown_feature',
      `View ${view.name} (version ${view.version}) has no feature ${ref.feature}.${didYouMean(ref.feature, view.featuresByName.keys())}`,
    );
  return { ref: { view: view.name, version: view.version, feature: ref.feature }, view, feature };
}

/** `view` means its current version, `view@v2` that one. Throws LoftError 422 `bad_reference`, 404 `unknown_view` or `unknown_version`. */
export function resolveView(snapshot: RegistrySnapshot, text: string): ViewVersion {
  return findView(
    snapshot,
    refuseBadReference(() => parseViewRef(text)),
  );
}

/** What `parse` of contract/references.ts refuses becomes LoftError 422 `bad_reference`. */
export function refuseBadReference<Ref extends ViewReference>(parse: () => Ref): Ref {
  try {
    return parse();
  } catch (error) {
    throw asRefusal(error);
  }
}

function findView(snapshot: RegistrySnapshot, ref: ViewReference): ViewVersion {
  const versions = snapshot.views.get(ref.view);
  if (versions === undefined)
    throw new LoftError(
      404,
      'unknown_view',
      `There is no view ${ref.view}.${didYouMean(ref.view, snapshot.views.keys())}`,
    );
  const version = ref.version === undefined ? currentVersion(versions) : versions.get(ref.version);
  if (version === undefined)
    throw new LoftError(
      404,
      'unknown_version',
      `View ${ref.view} has no version ${ref.version ?? ''}; there is ${[...versions.keys()].join(', ')}.`,
    );
  return version;
}

export function currentVersion(versions: ReadonlyMap<number, ViewVersion>): ViewVersion | undefined {
  for (const version of versions.values()) if (version.current) return version;
  return undefined;
}

/** Throws LoftError 404 `unknown_service`. */
export function resolveService(snapshot: RegistrySnapshot, name: string): Service {
  const service = snapshot.services.get(name);
  if (service === undefined)
    throw new LoftError(
      404,
      'unknown_service',
      `There is no feature service ${name}.${didYouMean(name, snapshot.services.keys())}`,
    );
  return service;
}
