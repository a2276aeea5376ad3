/** The first hundred problems are listed; a batch with more says so in its detail. */
export const MAX_PROBLEMS = 100;

/** One mistake and its place. `row` counts from 0 in the request (a CSV's first row after its header is 0). */
export interface Problem {
  path?: string;
  row?: number;
  field?: string;
  code: string;
  found?: string;
  expected?: string;
}

/** The body of every refusal: RFC 9457 with a stable `code`. `extra` members such as a plan stand beside these. */
export interface ProblemDocument {
  type: string;
  title: string;
  status: number;
  code: string;
  detail: string;
  problems?: Problem[];
  [extra: string]: unknown;
}

export interface LoftErrorOptions {
  problems?: Problem[];
  /** Further members of the problem document, such as the plan of a `plan_required`. */
  extra?: Record<string, unknown>;
  /** Seconds until it is worth asking again; becomes the `Retry-After` header. */
  retryAfterSeconds?: number;
  cause?: unknown;
}

/**
 * A refusal that a user can act on. `code` is stable and is what programs test; `detail` names the mistake, what was
 * found, what is expected and the next step, and never holds SQL, a stack or a secret.
 */
export class LoftError extends Error {
  readonly problems: Problem[];
  readonly extra: Record<string, unknown>;
  readonly retryAfterSeconds: number | undefined;

  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    options: LoftErrorOptions = {},
  ) {
    super(`${code}: ${detail}`, { cause: options.cause });
    this.name = 'LoftError';
    this.problems = options.problems ?? [];
    this.extra = options.extra ?? {};
    this.retryAfterSeconds = options.retryAfterSeconds;
  }

  toDocument(): ProblemDocument {
    return {
      type: 'about:blank',
      title: titleOf(this.status),
      status: this.status,
      code: this.code,
      detail: this.detail,
      ...(this.problems.length > 0 ? { problems: this.problems.slice(0, MAX_PROBLEMS) } : {}),
      ...this.extra,
    };
  }

  /** Rebuilds the error on the client's side of the wire. */
  static fromDocument(document: ProblemDocument): LoftError {
    const { type: _type, title: _title, status, code, detail, problems, ...extra } = document;
    return new LoftError(status, code, detail, { ...(problems ? { problems } : {}), extra });
  }
}

const titles: Record<number, string> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  408: 'Request Timeout',
  409: 'Conflict',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  421: 'Misdirected Request',
  422: 'Unprocessable Content',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};

function titleOf(status: number): string {
  return titles[status] ?? 'Error';
}
