import fc from 'fast-check';
import { expect, it } from 'vitest';
import { decodeBundle, hashOf } from './bundle.ts';
import { chunksIn, manifestChunks } from './chunker.ts';
import { ManifestWriter } from './manifest-writer.ts';

const manifest = Buffer.from(
  Array.from({ length: 8_000 }, (_, line) => `{"line":${line},"of":"${line * line}"}\n`)
    .join('')
    .repeat(3),
);
const hashes = [...chunksIn(manifest, manifestChunks)].map(hashOf);

it('is cut where it is cut as a whole, in whatever pieces it comes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat({ max: manifest.length }), { maxLength: 20 }), async (ends) => {
      const kept = new Map<string, Uint8Array>();
      const keep = (bundle: Buffer): Promise<number> => {
        for (const { hash, bytes } of decodeBundle(bundle).blobs) kept.set(hash, bytes);
        return Promise.resolve(bundle.length);
      };
      const writer = new ManifestWriter({ lacks: (hash) => !kept.has(hash), keep });
      let at = 0;
      for (const end of [...ends.sort((a, b) => a - b), manifest.length]) {
        await writer.write(manifest.subarray(at, end));
        at = end;
      }
      expect((await writer.end()).hashes).toEqual(hashes);
      expect(Buffer.concat(hashes.map((hash) => kept.get(hash)!)).equals(manifest)).toBe(true);
    }),
    { numRuns: 20 },
  );
});
