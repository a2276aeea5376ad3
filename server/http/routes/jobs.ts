import { printJson } from '../../../contract/json';
import type { TrainingJobs } from '../../jobs/trainingJobs';
import { lastEventId } from '../events';
import { JsonReply } from '../reply';
import type { Handlers } from '../router';

export interface JobParts {
  jobs: TrainingJobs;
  /** Fires when the gateway closes. */
  closing: AbortSignal;
}

export function jobRoutes({
  jobs,
  closing,
}: JobParts): Pick<Handlers, 'startJob' | 'jobs' | 'job' | 'jobEvents' | 'cancelJob'> {
  return {
    startJob: async ({ body }) => {
      const job = await jobs.start(body);
      return new JsonReply({ text: printJson(job) }, { status: 202, headers: { location: `/v1/jobs/${job.id}` } });
    },
    jobs: ({ query }) => jobs.list(query),
    job: ({ params }) => jobs.get(params.id),
    cancelJob: ({ params }) => jobs.cancel(params.id),
    jobEvents: async ({ params, raw }, open) => {
      const after = lastEventId(raw) ?? 0;
      const feed = await jobs.feed(params.id);
      const stream = open();
      const stop = feed.listen(after, (event) => {
        if (event) stream.send(event.event, event.data, String(event.id));
        else stream.end();
      });
      const end = (): void => stream.end();
      closing.addEventListener('abort', end);
      if (closing.aborted) end();
      await stream.closed;
      closing.removeEventListener('abort', end);
      stop();
    },
  };
}
