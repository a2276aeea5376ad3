import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { LoftError } from '../../../contract/errors';
import { chooseFormat, formatOfBody } from '../../../server/http/negotiate';

function accepting(accept?: string): IncomingMessage {
  return { headers: accept === undefined ? {} : { accept } } as IncomingMessage;
}

describe('the format of stored data', () => {
  const cases: [string | undefined, string][] = [
    [undefined, 'parquet'],
    ['*/*', 'parquet'],
    ['application/vnd.apache.parquet', 'parquet'],
    ['application/octet-stream', 'parquet'],
    ['text/csv', 'csv'],
    ['text/*', 'csv'],
    ['application/x-ndjson', 'ndjson'],
    ['application/x-ndjson;q=0.5, text/csv;q=0.9', 'csv'],
    ['application/vnd.apache.parquet;q=0, */*', 'csv'],
    ['application/json, */*;q=0.1', 'parquet'],
    ['TEXT/CSV ; q=1.0', 'csv'],
  ];
  for (const [accept, format] of cases) {
    it(`is ${format} for ${accept ?? 'no Accept'}`, () => assert.equal(chooseFormat(accepting(accept)), format));
  }

  it('is refused with 406 for a format that is not offered', () => {
    for (const accept of ['application/vnd.apache.arrow.stream', 'image/png', '*/*;q=0', '']) {
      assert.throws(
        () => chooseFormat(accepting(accept)),
        (error) => error instanceof LoftError && error.status === 406,
      );
    }
  });

  it('of a body follows its Content-Type, or 415', () => {
    assert.equal(formatOfBody('text/csv'), 'csv');
    assert.equal(formatOfBody('application/vnd.apache.parquet'), 'parquet');
    assert.equal(formatOfBody('application/x-ndjson'), 'ndjson');
    for (const type of [undefined, 'application/json', 'text/plain', 'multipart/form-data', 'constructor']) {
      assert.throws(
        () => formatOfBody(type),
        (error) => error instanceof LoftError && error.status === 415,
      );
    }
  });
});
