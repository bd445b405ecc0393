/** What can be read of a store whose disk takes nothing, or does not give all. */
import { seededRandom } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { FakeDisk } from '../test/fake-disk.ts';
import {
  afterGrace,
  backUp,
  blobOf,
  bytesIn,
  noise,
  openReadOnly,
  openStore,
  ownStores,
  readBack,
  versionsIn,
  type Files,
} from '../test/small-store.ts';
import { encodeBundle } from './bundle.ts';
import { readOnly, type Disk } from './disk.ts';
import { scrub, sweep } from './housekeeping.ts';
import { ownRecord } from './record.ts';
import type { Store, Version } from './store.ts';

const { folder, open } = ownStores();

const name = 'docs';
const files: Files = new Map([
  ['a', Buffer.from('one')],
  ['b', noise(seededRandom(1), 5_000)],
]);

/** A disk with a version of `files`, and what a killed process was writing. */
async function diskWithStore(): Promise<FakeDisk> {
  const disk = new FakeDisk();
  const store = await openStore('/store', disk);
  await backUp(store, name, files);
  await store.keep(encodeBundle([blobOf('left behind')]));
  disk.freeLocks();
  return disk;
}

async function expectAllReadable(store: Store<Version>): Promise<void> {
  const [version] = await versionsIn(store);
  expect(await readBack(store, version!)).toEqual(files);
  expect((await scrub(store, undefined)).findings).toEqual([]);
  expect(store.usage().packs).toBeGreaterThan(0);
  expect(await store.newest(name)).toMatchObject({ number: 1 });
}

describe('a store', () => {
  it('that is opened only to read lists, restores and is scrubbed, and no byte of it changes', async () => {
    const directory = folder();
    const store = await open(directory);
    await backUp(store, name, files);
    await store.close();
    const before = await bytesIn(directory);
    const reading = await openReadOnly(directory);
    await expectAllReadable(reading);
    await expect(reading.keep(encodeBundle([blobOf('new')]))).rejects.toMatchObject({ code: 'EROFS' });
    await expect(reading.forget(name)).rejects.toMatchObject({ code: 'EROFS' });
    await reading.close();
    expect(await bytesIn(directory)).toEqual(before);
  });

  it('beside one that writes is opened to read, and sees what comes', async () => {
    const directory = folder();
    const store = await open(directory);
    const reading = await openReadOnly(directory);
    await backUp(store, name, files);
    await reading.refresh();
    await expectAllReadable(reading);
  });

  it('is not made where it is only to be read', async () => {
    await expect(openReadOnly('/none', new FakeDisk())).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(openReadOnly('/', new FakeDisk())).rejects.toMatchObject({ code: 'EROFS' });
  });

  it.each([
    ['read only', (disk: FakeDisk) => readOnly(disk)],
    ['full', (disk: FakeDisk) => Object.assign(disk, { bytesMax: disk.usedBytes() })],
  ])('on a disk that is %s is opened as ever, and read', async (_, spoil) => {
    const disk = spoil(await diskWithStore());
    const store = await openStore('/store', disk);
    await expectAllReadable(store);
    await expect(backUp(store, name, new Map())).rejects.toThrow(/^(ENOSPC|EROFS)/);
    await store.close();
  });

  it('on a disk that is read only gives its user the record, and saves when that can be written', async () => {
    const disk = await diskWithStore();
    const record = ownRecord<number>(await openStore('/store', disk), 'record');
    await record.load();
    await record.save(1);
    record.close();
    let isReadOnly = true;
    const changing: Disk = new Proxy(disk, {
      get: (target, property: keyof Disk) => (isReadOnly ? readOnly(target) : target)[property].bind(target),
    });
    const again = ownRecord<number>(await openStore('/store', changing), 'record');
    expect(await again.load()).toBe(1);
    await expect(again.save(2)).rejects.toMatchObject({ code: 'EROFS' });
    isReadOnly = false;
    await again.save(2);
    expect(await disk.tryLock('/store/record.lock')).toBeUndefined();
    again.close();
  });

  it('takes and takes over again when there is room again', async () => {
    const disk = await diskWithStore();
    disk.bytesMax = disk.usedBytes();
    const store = await openStore('/store', disk);
    await expect(backUp(store, name, new Map([['c', Buffer.from('two')]]))).rejects.toThrow('ENOSPC');
    expect(store.lacks(blobOf('left behind').hash)).toBe(true);
    disk.bytesMax = Infinity;
    expect(await backUp(store, name, new Map([['c', Buffer.from('two')]]))).toBe(2);
    expect(store.lacks(blobOf('left behind').hash)).toBe(false);
    await sweep(store, afterGrace);
    expect(await disk.readdir('/store/incoming')).toHaveLength(1);
    await store.close();
  });

  it('whose index is damaged, and cannot be put right, is read with what the packs say', async () => {
    const disk = await diskWithStore();
    const index = (await disk.readdir('/store/packs')).find((each) => each.endsWith('.index'))!;
    await disk.writeFile(`/store/packs/${index}`, 'rubbish');
    const store = await openReadOnly('/store', disk);
    const [version] = await versionsIn(store);
    expect(await readBack(store, version!)).toEqual(files);
    expect((await scrub(store, undefined)).findings).toEqual([{ what: 'index', place: `packs/${index}`, repaired: false }]);
  });
});
