/**
 * A text that has not the form of a type, a duration or a reference. `expected` names the form and perhaps the nearest text of it, to stand
 * after "expected" in a problem; `message` is the whole sentence.
 */
export class FormError extends TypeError {
  constructor(
    what: string,
    readonly found: string,
    readonly expected: string,
  ) {
    super(`Bad ${what} ${shown(found)}: expected ${expected}${expected.endsWith('?') ? '' : '.'}`);
  }
}

function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
