/**
 * What Postgres' programs are started with. Not what would aim them elsewhere (`PGDATA`, `PGOPTIONS`), replace their libraries
 * (an editor's `LD_LIBRARY_PATH`), or is none of their business (a password in `FEATURELOFT_POSTGRES_URL`). Messages are in English: some are read.
 */
export function postgresEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(PG|LD_|DYLD_|LC_|NODE_|ELECTRON_|FEATURELOFT_)/i.test(name),
  );
  return { ...Object.fromEntries(kept), LANG: 'C', LC_ALL: 'C' };
}
