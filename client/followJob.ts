import type { JobInfo } from '../contract/api';
import { parseJson } from '../contract/json';
import { readEvents } from './eventReader';
import type { GatewayClient } from './gatewayClient';

const MOST_RECONNECTS = 5;

/** Follows a job to its end and answers how it ended. A lost connection is resumed where it was. */
export async function followJob(
  client: GatewayClient,
  job: JobInfo,
  options: { onProgress?: (job: JobInfo) => void; onLog?: (line: string) => void; signal?: AbortSignal } = {},
): Promise<JobInfo> {
  let newest = job;
  let lastId: string | undefined;
  for (let attempt = 0; !isOver(newest) && attempt < MOST_RECONNECTS; attempt++) {
    const stream = await client.events('jobEvents', {
      params: { id: job.id },
      ...(lastId === undefined ? {} : { headers: { 'last-event-id': lastId } }),
      ...(options.signal ? { signal: options.signal } : {}),
    });
    try {
      for await (const event of readEvents(stream)) {
        lastId = event.id ?? lastId;
        if (event.event === 'log') {
          options.onLog?.((parseJson(event.data) as unknown as { line: string }).line);
          continue;
        }
        newest = parseJson(event.data) as unknown as JobInfo;
        options.onProgress?.(newest);
      }
    } catch (error) {
      if (options.signal?.aborted) throw error;
    }
  }
  return isOver(newest) ? newest : client.call('job', { params: { id: job.id } });
}

function isOver(job: JobInfo): boolean {
  return job.state !== 'queued' && job.state !== 'running';
}
