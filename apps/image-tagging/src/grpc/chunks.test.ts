import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DownloadResponse, UploadRequest } from '../generated/lab/images/v1/images.ts';
import { decodeChunk, encodeChunk } from './chunks.ts';

const generated = (value: Uint8Array): Buffer =>
  Buffer.from(UploadRequest.encode({ part: { $case: 'chunk', value: Buffer.from(value) } }).finish());
const edges = [0, 1, 127, 128, 16_383, 16_384, 256 * 1024, 1024 * 1024, 2_097_151, 2_097_152];
const chunk = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.constantFrom(...edges).map((length) => new Uint8Array(length).fill(7)),
);

describe('a chunk', () => {
  it('is encoded as the generated code encodes it, for uploads and downloads', () => {
    fc.assert(
      fc.property(chunk, (value) => {
        const bytes = encodeChunk(value);
        expect(bytes.equals(generated(value))).toBe(true);
        const response = DownloadResponse.encode({ part: { $case: 'chunk', value: Buffer.from(value) } }).finish();
        expect(bytes.equals(response)).toBe(true);
      }),
    );
  });

  it('is decoded to its bytes, which are not copied', () => {
    fc.assert(
      fc.property(chunk, (value) => {
        const message = generated(value);
        const bytes = decodeChunk(message)!;
        expect(bytes.equals(value)).toBe(true);
        expect(bytes.buffer).toBe(message.buffer);
      }),
    );
  });

  it('is found in any bytes only where the generated code finds the same', () => {
    const almost = fc
      .tuple(fc.constant(0x12), fc.array(fc.nat(255), { maxLength: 12 }))
      .map(([tag, rest]) => Buffer.from([tag, ...rest]));
    fc.assert(
      fc.property(
        fc.oneof(
          almost,
          fc.uint8Array().map((bytes) => Buffer.from(bytes)),
        ),
        (bytes) => {
          const found = decodeChunk(bytes);
          if (found !== undefined)
            expect(UploadRequest.decode(bytes).part).toEqual({ $case: 'chunk', value: Buffer.from(found) });
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it.each<[string, UploadRequest]>([
    [
      'a header',
      { part: { $case: 'header', value: { key: 'k', fileName: 'f', sizeBytes: 1, sha256: Buffer.alloc(32), keywords: ['a'] } } },
    ],
    ['nothing', { part: undefined }],
  ])('is not what is %s', (_, message) =>
    expect(decodeChunk(Buffer.from(UploadRequest.encode(message).finish()))).toBeUndefined(),
  );

  it('is not a message that ends early, or goes on behind it', () => {
    const message = generated(Buffer.from('some bytes'));
    for (let length = 0; length < message.length; length++) expect(decodeChunk(message.subarray(0, length))).toBeUndefined();
    expect(decodeChunk(Buffer.concat([message, message]))).toBeUndefined();
    expect(decodeChunk(Buffer.from([0x12, 0xff, 0xff, 0xff, 0xff, 0xff]))).toBeUndefined();
  });
});
