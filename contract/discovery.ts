import { z } from 'zod';

/**
 * How a gateway is found. `featureloft serve` prints a `ServeLine` as its one line on standard output, and the gateway keeps a
 * `Discovery` in `gateway.json` of its data folder. Neither holds the token: `tokenFile` names the file that does.
 */
export const ServeLine = z.object({
  url: z.url({ protocol: /^https?$/ }),
  tokenFile: z.string().min(1),
  pid: z.int().positive(),
  version: z.string().min(1),
});
export type ServeLine = z.infer<typeof ServeLine>;

export const Discovery = ServeLine.extend({ startedAt: z.iso.datetime() });
export type Discovery = z.infer<typeof Discovery>;

/** The names that a data folder's finder and its owner must agree on. */
export const DISCOVERY_FILE = 'gateway.json';
export const TOKEN_FILE = 'token';
export const LOGS_FOLDER = 'logs';
/** What a gateway writes outside of its own log: how its start goes, and its last words. */
export const START_LOG = 'serve.log';

/** 32 random bytes in hex. Its characters (not the bytes they stand for) are the key of the proof. */
export const TOKEN_PATTERN = /^[0-9a-f]{64}$/;

/** A finder sends any text up to 256 characters; the gateway answers lower-case hex of HMAC-SHA256(token, challenge). */
export const CHALLENGE_HEADER = 'x-loft-challenge';
export const PROOF_HEADER = 'x-loft-proof';
export const MAX_CHALLENGE_CHARACTERS = 256;
