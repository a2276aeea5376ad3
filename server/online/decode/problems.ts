import { LoftError, MAX_PROBLEMS, type Problem } from '../../../contract/errors';

/** What is wrong with the rows of one request: all counted, the first hundred kept. */
export class RowProblems {
  private readonly kept: Problem[] = [];
  /** Rows with at least one problem. */
  badRows = 0;
  private total = 0;
  private lastRow = -1;

  /** The problems of one row are added one after the other. */
  add(row: number, problem: Omit<Problem, 'row'>): void {
    if (row !== this.lastRow) this.badRows++;
    this.lastRow = row;
    this.total++;
    if (this.kept.length < MAX_PROBLEMS) this.kept.push({ row, ...problem });
  }

  get isEmpty(): boolean {
    return this.total === 0;
  }

  /** In the order of their rows: times are checked after values. */
  get listed(): Problem[] {
    return this.kept.toSorted((a, b) => (a.row ?? 0) - (b.row ?? 0));
  }

  /** The refusal of the whole batch. */
  refusal(view: string): LoftError {
    const { listed } = this;
    const [first] = listed;
    const where =
      first === undefined ? '' : ` Row ${first.row}${first.field ? `, ${first.field}` : ''}: ${wordsOf(first)}.`;
    const shown = this.total > listed.length ? `, of which the first ${listed.length} are listed` : '';
    const problems = this.total === 1 ? '1 problem' : `${this.total} problems`;
    return new LoftError(
      422,
      'bad_rows',
      `Nothing was written to ${view}: ${problems} in ${this.badRows} of its rows${shown}.${where} Mend them, or take the good rows with ?onError=skip.`,
      { problems: listed },
    );
  }
}

function wordsOf(problem: Problem): string {
  const found = problem.found === undefined ? '' : `found ${problem.found}, `;
  return `${found}expected ${problem.expected ?? 'something else'}`;
}
