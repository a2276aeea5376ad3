import type { FileFormat } from '../protocol';
import type { Session } from './lake';
import { stageCsv } from './stageCsv';
import { stageNdjson } from './stageNdjson';
import { stageParquet } from './stageParquet';
import type { Staged } from './staged';

/** Makes an uploaded file readable as typed columns. Throws 422 with every problem and its place. */
export function stage(session: Session, file: string, format: FileFormat): Promise<Staged> {
  switch (format) {
    case 'csv':
      return stageCsv(session, file);
    case 'ndjson':
      return stageNdjson(file);
    case 'parquet':
      return stageParquet(session, file);
  }
}
