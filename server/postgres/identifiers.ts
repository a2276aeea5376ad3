/** The one function that puts a name into SQL. Names are checked before (contract/names.ts); this only quotes. */
export function quoteName(name: string): string {
  if (name.includes('\0')) throw new Error('a name holds no NUL');
  return `"${name.replaceAll('"', '""')}"`;
}

/** `"features"."airport_weather_v1"`: where a view version's newest rows live. */
export function featureTable(view: string, version: number): string {
  return `"features".${quoteName(bareTable(view, version))}`;
}

/** `airport_weather_v1`, the same in Postgres and in the lake. */
export function bareTable(view: string, version: number): string {
  return `${view}_v${version}`;
}
