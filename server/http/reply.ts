import type { ReadyFile } from '../offline/offlineStore';
import type { Headers } from './respond';

/** A JSON answer with more to it than a body of status 200. `text` is JSON already printed, where a handler made it itself. */
export class JsonReply<Answer> {
  constructor(
    readonly body: { value: Answer } | { text: string },
    readonly options: { status?: number; headers?: Headers } = {},
  ) {}
}

/** A file that is answered with its own bytes, and released afterwards whatever happens. */
export interface FileReply {
  file: ReadyFile;
  headers?: Headers;
}
