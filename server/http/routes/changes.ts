import { printJson } from '../../../contract/json';
import type { ChangeFeed } from '../../changes/changeFeed';
import type { LoggedChange } from '../../changes/changeLog';
import { lastEventId, type EventStream } from '../events';
import type { Handlers } from '../router';

export interface ChangeParts {
  changes: ChangeFeed;
  /** Fires when the gateway closes. */
  closing: AbortSignal;
}

export function changeRoutes({ changes, closing }: ChangeParts): Pick<Handlers, 'changes'> {
  return {
    changes: async ({ raw }, open) => {
      const after = lastEventId(raw);
      // What happens while the missed ones are read is kept, so that the client gets all in order.
      let kept: (LoggedChange[] | 'resync')[] | undefined = [];
      let stream: EventStream | undefined;
      let sent = after ?? changes.position;
      const pass = (news: LoggedChange[] | 'resync'): void => {
        if (!stream) return;
        if (news === 'resync') {
          sent = changes.position;
          stream.send('resync', '{}', String(sent));
          return;
        }
        for (const { position, event } of news) {
          if (position <= sent) continue;
          sent = position;
          stream.send('change', printJson(event), String(position));
        }
      };
      const unsubscribe = changes.subscribe((news) => (kept ? void kept.push(news) : pass(news)));
      const end = (): void => stream?.end();
      closing.addEventListener('abort', end);
      try {
        const missed = after === undefined ? [] : await changes.since(after);
        stream = open();
        stream.mark(String(sent));
        pass(missed);
        const waiting = kept;
        kept = undefined;
        for (const news of waiting) pass(news);
        if (closing.aborted) stream.end();
        await stream.closed;
      } finally {
        closing.removeEventListener('abort', end);
        unsubscribe();
      }
    },
  };
}
