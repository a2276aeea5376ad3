// References to features and views, and the column each feature gets in a result.
import { FormError } from './formError';
import { nameProblem } from './names';

/** Without a version: the view's current one. */
export type ViewReference = { view: string; version?: number };
export type FeatureReference = ViewReference & { feature: string };

const maxVersion = 2 ** 31 - 1;

/** `view:feature` or `view@v2:feature`. Throws a FormError. */
export function parseFeatureRef(text: string): FeatureReference {
  const parts = text.split(':');
  const [viewText, feature] = parts;
  if (parts.length !== 2 || viewText === undefined || feature === undefined) {
    throw new FormError('feature reference', text, `view:feature or view@v2:feature${hint(text)}`);
  }
  const view = readView(viewText, 'feature reference', text);
  const [bare = '', pinned] = feature.split(/@(?=v[1-9]\d{0,9}$)/);
  if (pinned !== undefined && view.version === undefined && nameProblem(bare, 'feature') === undefined) {
    const meant = `${viewText}@${pinned}:${bare}`;
    throw new FormError('feature reference', text, `view:feature or view@v2:feature. Did you mean ${meant}?`);
  }
  const problem = nameProblem(feature, 'feature');
  if (problem) throw new FormError('feature reference', text, problem);
  return { ...view, feature };
}

/** `view` or `view@v2`. Throws a FormError. */
export function parseViewRef(text: string): ViewReference {
  return readView(text, 'view reference', text);
}

/** `what` and `whole` are for the error: the view may be part of a longer reference. */
function readView(text: string, what: string, whole: string): ViewReference {
  const [view = '', suffix, ...rest] = text.split('@');
  const problem = nameProblem(view, 'view');
  if (problem) throw new FormError(what, whole, problem);
  if (suffix === undefined) return { view };
  const version = /^v([1-9]\d{0,9})$/.exec(suffix)?.[1];
  if (version === undefined || rest.length > 0 || Number(version) > maxVersion) {
    const number = /^\D*0*([1-9]\d{0,8})$/.exec(suffix)?.[1] ?? '1';
    throw new FormError(what, whole, `a version such as ${view}@v${number}`);
  }
  return { view, version: Number(version) };
}

/** `view.feature`, `view/feature` and `view__feature` are what people type from habit. */
function hint(text: string): string {
  if (text.length > 200) return '';
  const match = /^([a-z][a-z0-9_]*?)(?:\.|\/|__|\s+)([a-z][a-z0-9_]*)$/.exec(text);
  return match ? `. Did you mean ${match[1]}:${match[2]}?` : '';
}

export function formatViewRef(ref: ViewReference): string {
  return ref.version === undefined ? ref.view : `${ref.view}@v${ref.version}`;
}

export function formatFeatureRef(ref: FeatureReference): string {
  return `${formatViewRef(ref)}:${ref.feature}`;
}

/**
 * The result column of each reference, in their order: `feature`; or `view__feature` for all when full names are asked for, and for
 * those that clash. Two versions of one view clash still: then `view_v2__feature`. Throws a TypeError when a reference is repeated.
 */
export function outputColumns(refs: readonly FeatureReference[], fullNames: boolean): string[] {
  const short = fullNames
    ? refs.map(fullName)
    : lengthenClashes(
        refs.map((ref) => ref.feature),
        refs,
        fullName,
      );
  const columns = lengthenClashes(short, refs, (ref) => {
    return ref.version === undefined ? fullName(ref) : `${ref.view}_v${ref.version}__${ref.feature}`;
  });
  const seen = new Map<string, FeatureReference>();
  for (const [position, ref] of refs.entries()) {
    const column = columns[position] ?? '';
    const other = seen.get(column);
    if (other)
      throw new TypeError(
        `${formatFeatureRef(other)} and ${formatFeatureRef(ref)} would both be column ${column}; ask for one.`,
      );
    seen.set(column, ref);
  }
  return columns;
}

function fullName(ref: FeatureReference): string {
  return `${ref.view}__${ref.feature}`;
}

function lengthenClashes(
  columns: string[],
  refs: readonly FeatureReference[],
  longer: (ref: FeatureReference) => string,
): string[] {
  const counts = new Map<string, number>();
  for (const column of columns) counts.set(column, (counts.get(column) ?? 0) + 1);
  return refs.map((ref, position) => {
    const column = columns[position] ?? '';
    return (counts.get(column) ?? 0) > 1 ? longer(ref) : column;
  });
}
