import { createHash, randomBytes } from 'node:crypto';

/** May a holder of the token make this request? */
export type Scope = (method: string, path: string) => boolean;

/**
 * Tokens that live only in this process's memory and only for one job, each with what it may ask for. Kept as digests, so
 * that looking one up tells nothing about another by its timing.
 */
export class JobTokens {
  private readonly scopes = new Map<string, Scope>();

  issue(scope: Scope): { token: string; revoke: () => void } {
    const token = randomBytes(32).toString('hex');
    const digest = digestOf(token);
    this.scopes.set(digest, scope);
    return { token, revoke: () => void this.scopes.delete(digest) };
  }

  scopeOf(token: string): Scope | undefined {
    return this.scopes.get(digestOf(token));
  }
}

function digestOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
