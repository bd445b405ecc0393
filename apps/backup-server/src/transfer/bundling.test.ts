import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { decodeBundle, hashOf, type Blob } from '@lab/store/bundle';
import { seededRandom } from '@lab/testing';
import { expect, it } from 'vitest';
import { bundleAside } from './bundling.ts';

const blobOf = (text: string): Blob => ({ hash: hashOf(Buffer.from(text)), bytes: Buffer.from(text) });

it('bundles what is large and what is small, in the order in which it was given', async () => {
  const random = seededRandom(1);
  const bundle = bundleAside();
  const given = Array.from({ length: 20 }, (_, index) => {
    const blobs = random.chance(0.5) ? [`small ${index}`, 'b'] : [`large ${index} `.repeat(20_000)];
    return blobs.map(blobOf);
  });
  const texts = given.map((blobs) => blobs.map(({ bytes }) => Buffer.from(bytes).toString()));
  const made = await Promise.all(given.map(async (blobs) => Buffer.concat(await bundle(blobs))));
  const decoded = made.map((bytes) => decodeBundle(bytes).blobs.map((blob) => Buffer.from(blob.bytes).toString()));
  expect(decoded).toEqual(texts);
});

it('keeps no process from its end', async () => {
  const module = new URL('bundling.ts', import.meta.url).href;
  const program = `import(${JSON.stringify(module)}).then(async ({ bundleAside }) => {
    const parts = await bundleAside()([{ hash: '0'.repeat(64), bytes: Buffer.alloc(100_000) }]);
    console.log(parts.length);
  })`;
  const ran = promisify(execFile)(process.execPath, ['-e', program], { timeout: 60_000 });
  expect((await ran).stdout).toBe('2\n');
});
