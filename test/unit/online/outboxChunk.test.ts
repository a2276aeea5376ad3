import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import {
  chunkLine,
  GrowingChunk,
  MAX_CHUNK_BYTES,
  MAX_CHUNK_ROWS,
  packBatch,
} from '../../../server/online/outboxChunk';

describe('an outbox chunk', () => {
  const batch = {
    rows: [4, 9],
    columns: [
      ['JFK', 'é"\\\n'],
      [null, '1'],
    ],
    size: 0,
  };

  it('has a line a row: strings or nulls, the position last', () => {
    assert.equal(chunkLine(batch, 1, 7), '["é\\"\\\\\\n","1","7"]\n');
    assert.equal(gunzipSync(packBatch(batch)).toString(), '["JFK",null,"0"]\n["é\\"\\\\\\n","1","1"]\n');
  });

  it('is never larger than it promised, whatever its rows are made of', async () => {
    for (const piece of [
      randomBytes(700_000),
      Buffer.alloc(700_000, 'a'),
      Buffer.from(randomBytes(350_000).toString('hex')),
    ]) {
      const chunk = new GrowingChunk();
      let pieces = 0;
      while (chunk.takes(1, piece.length) && pieces < 60) {
        await chunk.add(1, piece);
        pieces++;
      }
      const body = await chunk.finish();
      assert.ok(body.length <= MAX_CHUNK_BYTES, `${body.length}`);
      assert.equal(gunzipSync(body).length, pieces * piece.length);
    }
  });

  it('takes no more rows than a batch has numbers', async () => {
    const chunk = new GrowingChunk();
    assert.equal(chunk.takes(MAX_CHUNK_ROWS + 1, 10), false);
    await chunk.add(MAX_CHUNK_ROWS, Buffer.from('x'));
    assert.equal(chunk.takes(1, 10), false);
  });
});
