import type { JobInfo } from '../../contract/api';
import { printJson } from '../../contract/json';

/** Older ones are dropped: who resumes from before them gets the job's newest state, which is whole in each event. */
const KEPT_EVENTS = 2_000;

/** `job` carries the whole JobInfo, `log` one line of output. */
export interface JobEvent {
  id: number;
  event: 'job' | 'log';
  data: string;
}

/** The events of one job, for those who listen now and those who come back. */
export class JobFeed {
  private readonly events: JobEvent[] = [];
  private readonly listeners = new Set<(event: JobEvent | undefined) => void>();
  private nextId = 1;
  private closed = false;

  constructor(private newest: JobInfo) {
    this.state(newest);
  }

  state(job: JobInfo): void {
    this.newest = job;
    this.add('job', printJson(job));
  }

  log(line: string): void {
    this.add('log', printJson({ line: line.slice(0, 10_000) }));
  }

  close(): void {
    this.closed = true;
    for (const listener of this.listeners) listener(undefined);
    this.listeners.clear();
  }

  /**
   * Calls `listener` with all events after the given id that are still kept, then with those to come; with undefined at the
   * end of the job. Answers how to stop listening.
   */
  listen(after: number, listener: (event: JobEvent | undefined) => void): () => void {
    const oldest = this.events[0]?.id ?? this.nextId;
    if (after >= this.nextId || after < oldest - 1) {
      listener({ id: this.nextId - 1, event: 'job', data: printJson(this.newest) });
      for (const event of after < oldest - 1 ? this.events : []) listener(event);
    } else {
      for (const event of this.events) if (event.id > after) listener(event);
    }
    if (this.closed) {
      listener(undefined);
      return () => undefined;
    }
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private add(event: JobEvent['event'], data: string): void {
    const added: JobEvent = { id: this.nextId++, event, data };
    this.events.push(added);
    if (this.events.length > KEPT_EVENTS) this.events.shift();
    for (const listener of this.listeners) listener(added);
  }
}
