import { LoftError } from '../../../contract/errors';
import type { OfflineStore, ReadyFile } from '../../offline/offlineStore';
import { demandPlainEncoding, mediaType, withPauseLimit } from '../body';
import { chooseFormat, formatOfBody } from '../negotiate';
import type { FileReply } from '../reply';
import type { Handlers } from '../router';
import { Readable } from 'node:stream';

type Names =
  | 'uploadDataset'
  | 'datasets'
  | 'dataset'
  | 'datasetData'
  | 'createTrainingSet'
  | 'trainingSets'
  | 'trainingSet'
  | 'trainingSetVersion'
  | 'trainingSetData'
  | 'trainingSetVersionData'
  | 'verify';

export function offlineRoutes(offline: OfflineStore): Pick<Handlers, Names> {
  return {
    uploadDataset: async ({ params, query, raw }) => {
      demandPlainEncoding(raw);
      const format = formatOfBody(mediaType(raw));
      const body = Readable.from(withPauseLimit(raw), { objectMode: false });
      try {
        return await offline.uploadDataset(params.name, body, { mode: query.mode, format });
      } finally {
        body.destroy();
      }
    },
    datasets: ({ query }) => offline.datasets(query),
    dataset: ({ params, query }) => offline.dataset(params.name, query.version),
    datasetData: async ({ params, query, raw }) => {
      const format = chooseFormat(raw);
      return attachment(await offline.exportDataset(params.name, query.version, format), params.name);
    },
    createTrainingSet: ({ body }) => offline.createTrainingSet(body),
    trainingSets: ({ query }) => offline.trainingSets(query),
    trainingSet: ({ params }) => offline.trainingSet(params.name),
    trainingSetVersion: ({ params }) => offline.trainingSet(params.name, readVersion(params.version)),
    trainingSetData: async ({ params, raw }) =>
      attachment(await offline.trainingSetFile(params.name, undefined, chooseFormat(raw)), params.name),
    trainingSetVersionData: async ({ params, raw }) => {
      const version = readVersion(params.version);
      return attachment(await offline.trainingSetFile(params.name, version, chooseFormat(raw)), params.name);
    },
    verify: ({ body }) => offline.verify(body.mode ?? 'full'),
  };
}

function readVersion(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new LoftError(
    404,
    'unknown_version',
    `A version is a number from 1, found ${JSON.stringify(text.slice(0, 40))}.`,
  );
}

/** The name was found in the store, so it follows the name rule and needs no escaping. */
function attachment(file: ReadyFile, name: string): FileReply {
  return { file, headers: { 'content-disposition': `attachment; filename="${name}.${file.format}"` } };
}
