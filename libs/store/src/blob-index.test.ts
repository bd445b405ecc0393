import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { blobOf, openStore } from '../test/small-store.ts';
import { FakeDisk } from '../test/fake-disk.ts';
import { blobsMax, encodeBundle } from './bundle.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function heldBytes(): number {
  collect();
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

it('holds less than 120 bytes for each blob of packs that are read', async () => {
  const disk = new FakeDisk();
  const writer = await openStore('/store', disk);
  const bundles = 16;
  for (let bundle = 0; bundle < bundles; bundle++)
    await writer.keep(encodeBundle(Array.from({ length: blobsMax }, (_, index) => blobOf(`${bundle} ${index}`))));
  await writer.close();
  const before = heldBytes();
  const store = await openStore('/store', disk);
  for (let bundle = 0; bundle < bundles; bundle++) await store.readBlob(blobOf(`${bundle} 0`).hash);
  expect((heldBytes() - before) / (bundles * blobsMax)).toBeLessThan(120);
  expect(store.usage().packs).toBe(2);
});
