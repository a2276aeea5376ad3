// The offline worker: a process of its own, so that an abort inside DuckDB or a join that eats all memory ends it and not the gateway.
import { LoftError } from '../../../contract/errors';
import type { WorkerAnswer, WorkerCalls, WorkerOperation, WorkerRequest } from '../protocol';
import { buildTrainingSet } from './buildTrainingSet';
import { describeDataset, exportDataset } from './describeDataset';
import { drainChunks } from './drainChunks';
import { failureOf } from './failures';
import { ingestDataset } from './ingestDataset';
import { Lake } from './lake';
import { quoteText } from './lake';
import { writeRows } from './rowFile';
import { stage } from './stage';
import { toCells } from './toCells';
import { verifyLake } from './verifyLake';

let opened: Lake | undefined;

function lake(): Lake {
  if (!opened) throw new LoftError(409, 'lake_not_open', 'The worker has not opened its lake.');
  return opened;
}

type Operations = {
  [Operation in WorkerOperation]: (
    request: WorkerCalls[Operation]['request'],
  ) => Promise<WorkerCalls[Operation]['answer']>;
};

const operations: Operations = {
  open: async (request) => {
    opened = await Lake.open(request);
    return opened.identity;
  },
  ingestDataset: (request) => ingestDataset(lake(), request),
  describeDataset: (request) => describeDataset(lake(), request),
  exportDataset: (request) => exportDataset(lake(), request),
  fileColumns: ({ file, format }) =>
    lake().read(async (session) => {
      const { columns } = await stage(session, file, format);
      return { columns: columns.map(({ name, type }) => ({ name, type })) };
    }),
  toCells: (request) => toCells(lake(), request),
  drain: (request) => drainChunks(lake(), request),
  buildTrainingSet: (request) => buildTrainingSet(lake(), request),
  exportParquet: ({ file, columns, format, target }) =>
    lake().read(async (session) => {
      await writeRows(session, columns, `read_parquet(${quoteText(file)})`, format, target);
      return {};
    }),
  verifyLake: (request) => verifyLake(lake(), request),
  close: async () => {
    await opened?.close();
    opened = undefined;
    return {};
  },
};

async function answerTo({ id, operation, request }: WorkerRequest): Promise<WorkerAnswer> {
  try {
    const work = operations[operation] as (request: unknown) => Promise<unknown>;
    return { id, ok: true, answer: await work(request), residentBytes: process.memoryUsage.rss() };
  } catch (error) {
    return { id, ok: false, error: failureOf(error), residentBytes: process.memoryUsage.rss() };
  }
}

process.on('message', (message) => {
  void answerTo(message as WorkerRequest).then((answer) => process.send?.(answer));
});
// The gateway is gone, or has closed us. In the middle of work nothing is waited for: a lake transaction that has not committed
// leaves nothing behind, and the next gateway wants the catalog.
process.on('disconnect', () => (opened ? process.kill(process.pid, 'SIGKILL') : process.exit(0)));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined); // a terminal's ^C is the gateway's to answer
