declare const FEATURELOFT_VERSION: string | undefined;

/** The version of package.json, written in by the bundler; from the sources it is `dev`. */
export const VERSION = typeof FEATURELOFT_VERSION === 'string' ? FEATURELOFT_VERSION : 'dev';
