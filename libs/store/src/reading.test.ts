/** What can be read of a store whose disk takes nothing, or does not give all. */
import { renameSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { seededRandom } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { FakeDisk } from '../test/fake-disk.ts';
import {
  afterGrace,
  backUp,
  blobOf,
  bytesIn,
  keepBlobs,
  recordOf,
  noise,
  onlyVersion,
  openReadOnly,
  openStore,
  options,
  ownStores,
  readBack,
  versionsIn,
  type Files,
} from '../test/small-store.ts';
import { encodeBundle } from './bundle.ts';
import { readOnly, type Disk } from './disk.ts';
import { scrub, sweep } from './housekeeping.ts';
import { ownRecord } from './record.ts';
import { isLost, MissingBlobsError, Store, type Stored, type Version } from './store.ts';

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

const key = blobOf(name).hash.slice(0, 32);
const [half, whole] = [[0], [0, 4096]];
/** What cannot be read, and what `docs` is then; `places` are a file and its bytes, without which all of it is meant. */
const unreadable: [what: string, state: 'whole' | 'damaged' | 'lost', path: (packs: string[]) => string, places?: number[]][] = [
  ['a payload', 'damaged', (packs) => packs[0]!, [100]],
  ['a pack', 'damaged', (packs) => packs[0]!],
  ['an index', 'whole', (packs) => packs[0]!.replace('.pack', '.index')],
  ['a block of an index', 'whole', (packs) => packs[0]!.replace('.pack', '.index'), half],
  ['half a record', 'whole', () => `versions/${key}/1`, half],
  ['a record', 'lost', () => `versions/${key}/1`, whole],
  ['the file of a record', 'lost', () => `versions/${key}/1`],
  ['half of what a name is', 'whole', () => `versions/${key}/name`, half],
  ['what a name is', 'whole', () => `versions/${key}/name`, whole],
  ['the folder of a name', 'lost', () => `versions/${key}`],
  ['half of the format', 'whole', () => 'format', half],
  ['the marks', 'whole', () => 'damaged'],
  ['what dead writers left', 'whole', () => 'incoming'],
];

describe('what cannot be read', () => {
  const others: Files = new Map([['c', noise(seededRandom(2), 3_000)]]);

  async function spoilt(path: (packs: string[]) => string, places?: number[]): Promise<FakeDisk> {
    const disk = new FakeDisk();
    const store = await openStore('/store', disk);
    await backUp(store, name, files);
    const packs = (await disk.readdir('/store/packs')).filter((each) => each.endsWith('.pack'));
    const at = join('/store', path(packs.map((each) => `packs/${each}`)));
    await backUp(store, 'others', others);
    await store.close();
    if (places === undefined) disk.spoil(at);
    for (const place of places ?? []) disk.spoil(at, place);
    return disk;
  }

  it.each(unreadable)('%s makes a version %s, and no other', async (_, state, path, places) => {
    const disk = await spoilt(path, places);
    const stores = [await openStore('/store', disk), await openReadOnly('/store', disk)];
    for (const store of stores) {
      await scrub(store, undefined);
      const versions = await store.versions();
      const other = versions.find((version) => !isLost(version) && version.name === 'others');
      expect(await readBack(store, other as Version)).toEqual(others);
      expect(await store.missingOf(other as Stored<Version>)).toEqual([]);
      const one = versions.find((version) => version !== other)!;
      expect(isLost(one)).toBe(state === 'lost');
      if (isLost(one)) continue;
      expect((await store.missingOf(one)).length > 0).toBe(state === 'damaged');
      if (state === 'whole') expect(await readBack(store, one)).toEqual(files);
      else await expect(readBack(store, one)).rejects.toThrow(MissingBlobsError);
    }
  });

  it.each(unreadable)('%s that makes a version %s is named, and no sweep takes what is sound', async (_, __, path, places) => {
    const disk = await spoilt(path, places);
    const store = await openStore('/store', disk);
    const { findings } = await scrub(store, undefined);
    const isOutside = ['damaged', 'incoming'].includes(path(['x.pack']));
    expect(findings.length > 0).toBe(!isOutside);
    const before = await disk.readdir('/store/packs');
    await sweep(store, afterGrace).catch((error: unknown) => {
      // Nobody knows who is at work.
      expect(path(['x.pack'])).toBe('incoming');
      expect(error).toMatchObject({ code: 'EIO' });
    });
    expect((await disk.readdir('/store/packs')).filter((each) => before.includes(each))).toEqual(before);
    const other = (await store.versions()).find((version) => !isLost(version) && version.name === 'others');
    expect(await readBack(store, other as Version)).toEqual(others);
  });

  it.each(unreadable.filter(([, state, path]) => state !== 'lost' && path(['x.pack']) !== 'incoming'))(
    '%s is healed by who keeps it again',
    async (what, __, path, places) => {
      const disk = await spoilt(path, places);
      const store = await openStore('/store', disk);
      await scrub(store, undefined);
      const version = (await versionsIn(store)).find((each) => each.name === name)!;
      await keepBlobs(store, files);
      await recordOf(store, name, files);
      await store.flush();
      expect(await store.missingOf(version)).toEqual([]);
      expect(await readBack(store, version)).toEqual(files);
      // Where that cannot be read, nobody knows which numbers were given.
      expect(await backUp(store, name, new Map())).toBe(what === 'what a name is' ? 1_000_002 : 2);
    },
  );

  it('is damage where a reader meets it, for all processes', async () => {
    const disk = await spoilt((packs) => packs[0]!, [100]);
    const [reader, other] = [await openStore('/store', disk), await openStore('/store', disk)];
    const version = (await versionsIn(reader)).find((each) => each.name === name)!;
    await expect(readBack(reader, version)).rejects.toThrow(MissingBlobsError);
    await other.refresh();
    for (const store of [reader, other]) expect((await store.missingOf(version)).length).toBeGreaterThan(0);
  });

  it('is not said to be repaired where it stays bad, however often that is tried', async () => {
    const disk = await spoilt((packs) => packs[0]!, [0]);
    const open = disk.open.bind(disk);
    // It takes what is written, and does not give it back.
    disk.open = async (path, flags) => {
      const file = await open(path, flags);
      const sync = file.sync.bind(file);
      return Object.assign(file, {
        async sync() {
          await sync();
          if (flags === 'r+') disk.spoil(path, 0);
        },
      });
    };
    const store = await openStore('/store', disk);
    for (let time = 0; time < 2; time++) {
      const headers = (await scrub(store, undefined)).findings.filter(({ what }) => what === 'header');
      expect(headers.length).toBeGreaterThan(0);
      expect(headers.every(({ repaired }) => !repaired)).toBe(true);
    }
  });

  it('is told, by its place and by what it costs', async () => {
    const disk = await spoilt((packs) => packs[0]!, [100]);
    const heard: string[] = [];
    const store = await Store.open<Version>('/store', { ...options, disk, onDamage: (what) => heard.push(what) });
    await scrub(store, undefined);
    expect(heard).toContainEqual(expect.stringMatching(/^EIO: read \/store\/packs\/\w+\.pack$/));
    expect(heard).toContainEqual(expect.stringMatching(/^blob \w+ in packs\/\w+\.pack is damaged, or gone$/));
  });

  it('once, and can be the next time, is whole again after a scrub', async () => {
    const disk = await spoilt((packs) => packs[0]!);
    const store = await openStore('/store', disk);
    await scrub(store, undefined);
    const version = (await versionsIn(store)).find((each) => each.name === name)!;
    expect((await store.missingOf(version)).length).toBeGreaterThan(0);
    await sweep(store, afterGrace);
    const repaired = disk.copy();
    const again = await openStore('/store', repaired);
    await scrub(again, undefined);
    expect(await again.missingOf(version)).toEqual([]);
    expect(await readBack(again, version)).toEqual(files);
  });
});

describe('a pack that is gone', () => {
  it('is not meant where a version is younger than the last look at the packs', async () => {
    const store = await open();
    const beside = await open(store.directory);
    await backUp(beside, name, files);
    expect(await store.missingOf(await onlyVersion(store))).toEqual([]);
  });

  it.each([['.pack'], ['.pack', '.index']])('is known at once with %j, and at the next start', async (...kinds) => {
    const directory = folder();
    const store = await open(directory);
    await backUp(store, name, files);
    const version = await onlyVersion(store);
    expect(await store.missingOf(version)).toEqual([]);
    const [pack] = store.index.packs;
    const move = (from: string, to: string): void => {
      for (const kind of kinds) renameSync(join(from, `${pack}${kind}`), join(to, `${pack}${kind}`));
    };
    const elsewhere = folder();
    move(join(directory, 'packs'), elsewhere);
    await store.refresh();
    for (const each of [store, await open(directory)]) {
      const missing = await each.missingOf(version);
      expect(missing.length).toBeGreaterThan(0);
      await expect(readBack(each, version)).rejects.toThrow(MissingBlobsError);
      const { findings } = await scrub(each, 0);
      expect(findings.filter(({ what }) => what === 'missing')).toHaveLength(missing.length);
    }
    if (kinds.length === 1) return;
    // Who brings it back has it back.
    move(elsewhere, join(directory, 'packs'));
    await store.refresh();
    expect(await store.missingOf(version)).toEqual([]);
  });

  it('for a sweep has removed it is no loss: no manifest is read again for that', async () => {
    const one = await open();
    await backUp(one, name, files);
    await backUp(one, 'others', new Map([['x', Buffer.from('y')]]));
    const beside = await open(one.directory);
    for (const version of await versionsIn(beside)) await beside.missingOf(version);
    const { changes } = beside.index;
    await one.forget('others');
    expect((await sweep(one, afterGrace)).packs).toBeGreaterThan(0);
    await beside.refresh();
    expect(beside.index.changes).toBe(changes);
  });

  it('in part is not made longer again', async () => {
    const directory = folder();
    const store = await open(directory);
    await backUp(store, name, files, { blobsInBundle: 1 });
    const [pack] = store.index.packs;
    const path = join(directory, 'packs', `${pack}.pack`);
    truncateSync(path, 50);
    const { findings } = await scrub(store, undefined);
    expect(findings.every(({ what, repaired }) => what === 'content' && !repaired)).toBe(true);
    expect(statSync(path).size).toBe(50);
  });
});

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
    await expect(openReadOnly('/', new FakeDisk())).rejects.toMatchObject({ name: 'NoStoreError' });
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
