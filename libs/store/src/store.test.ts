import { readdirSync, linkSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { seededRandom, simulate } from '@lab/testing';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { anythingHappens, killedInTheMiddle } from '../test/life.ts';
import {
  afterGrace,
  backUp,
  blobOf,
  copyOf,
  keepBlobs,
  manifestFor,
  noise,
  onlyVersion,
  ownStores,
  openReadOnly,
  openStore,
  readBack,
  recordOf,
  text,
  versionsIn,
  type Files,
  whole,
} from '../test/small-store.ts';
import { encodeBundle, MalformedBundleError } from './bundle.ts';
import { replaceRecord } from './durable.ts';
import { systemDisk } from './disk.ts';
import { sweep } from './housekeeping.ts';
import { MissingBlobsError, NoStoreError, SupersededError, type Store, type Version } from './store.ts';

const name = 'docs';

const { folder, open } = ownStores();
afterEach(() => void vi.restoreAllMocks());

async function two(): Promise<[Store<Version>, Store<Version>]> {
  const directory = folder();
  return [await open(directory), await open(directory)];
}

const filesOf = (contents: Record<string, Buffer | string>): Files =>
  new Map(Object.entries(contents).map(([path, content]) => [path, Buffer.from(content)]));

describe('a version', () => {
  it('restores byte for byte, whatever is in its files', async () => {
    const random = seededRandom(1);
    const files = filesOf({
      empty: '',
      small: 'x',
      large: noise(random, 5500),
      shrinks: text(random, 4000),
      twice: text(random, 10),
    });
    const store = await open();
    expect(await backUp(store, name, files)).toBe(1);
    expect(await readBack(store, await onlyVersion(store))).toEqual(files);
  });

  it('is there with its blobs after the store was closed and opened', async () => {
    const directory = folder();
    const store = await open(directory);
    await backUp(store, name, filesOf({ a: 'one' }));
    await store.close();
    const again = await open(directory);
    expect(await readBack(again, await onlyVersion(again))).toEqual(filesOf({ a: 'one' }));
    expect(readdirSync(join(directory, 'incoming'))).toEqual([]);
  });

  it('of nothing at all is one too', async () => {
    const store = await open();
    await backUp(store, name, new Map());
    expect(await whole(store.manifestOf(await onlyVersion(store)))).toEqual(manifestFor(new Map()));
  });

  it('is one of the two that are based on the same; the other is superseded', async () => {
    const [one, other] = await two();
    const tries = [
      backUp(one, name, filesOf({ a: 'one' }), { base: 0 }),
      backUp(other, name, filesOf({ a: 'other' }), { base: 0 }),
    ];
    const results = await Promise.allSettled(tries);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(results.find((result) => result.status === 'rejected')?.reason).toBeInstanceOf(SupersededError);
    const winner = results[0]!.status === 'fulfilled' ? 'one' : 'other';
    for (const store of [one, other]) expect(await readBack(store, await onlyVersion(store))).toEqual(filesOf({ a: winner }));
  });

  it.each([1, 2, 3])('is made by one of %d0 at once for each number, over three processes', async (seed) => {
    const random = seededRandom(seed);
    const directory = folder();
    const three = [await open(directory), await open(directory), await open(directory)];
    const results = await Promise.allSettled(
      Array.from({ length: seed * 10 }, (_, index) => backUp(random.pick(three), name, filesOf({ a: `content ${index}` }))),
    );
    const made = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []));
    expect(refused.filter((error) => !(error instanceof SupersededError))).toEqual([]);
    expect(made.toSorted((a, b) => a - b)).toEqual(made.map((_, index) => index + 1));
    for (const store of three) expect((await versionsIn(store)).map(({ version }) => version)).toHaveLength(made.length);
  });

  it('is not made when a blob that it relies on went away meanwhile', async () => {
    const [one, other] = await two();
    await keepBlobs(one, filesOf({ a: 'wanted' }));
    await one.writer.flush();
    expect(one.lacks(blobOf('wanted').hash)).toBe(false);
    expect((await sweep(other, afterGrace)).packs).toBe(1);
    const { record, hashes } = await recordOf(one, name, filesOf({ a: 'wanted' }));
    await expect(one.commit(record, { base: 0, hashes })).rejects.toMatchObject({
      name: 'MissingBlobsError',
      hashes: [blobOf('wanted').hash],
    });
    expect(await one.versions()).toEqual([]);
    expect(await backUp(one, name, filesOf({ a: 'wanted' }))).toBe(1);
    expect(await readBack(other, await onlyVersion(other))).toEqual(filesOf({ a: 'wanted' }));
  });

  it('is not made with what a look at the packs found that had begun before they were removed', async () => {
    const [one, other] = await two();
    await keepBlobs(other, filesOf({ a: 'wanted' }));
    await other.writer.flush();
    await one.index.refresh();
    const { record, hashes } = await recordOf(one, name, filesOf({ a: 'wanted' }));
    await one.writer.flush();
    // The look reads the index of a pack that is new, and is held up there.
    await keepBlobs(other, filesOf({ b: 'some other' }));
    await other.writer.flush();
    const gate = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const original = one.index.bundlesOf.bind(one.index);
    vi.spyOn(one.index, 'bundlesOf').mockImplementationOnce(async (pack) => {
      const bundles = await original(pack);
      begun.resolve();
      await gate.promise;
      return bundles;
    });
    const look = one.index.refresh();
    await begun.promise;
    expect((await sweep(other, afterGrace)).packs).toBeGreaterThan(0);
    const commit = one.commit(record, { base: 0, hashes });
    const refresh = one.index.refresh.bind(one.index);
    vi.spyOn(one.index, 'refresh').mockImplementation(() => {
      gate.resolve();
      return refresh();
    });
    await expect(commit).rejects.toThrow(MissingBlobsError);
    await look;
  });

  it('survives that the process ended between giving it its name and removing the other one', async () => {
    const directory = folder();
    const store = await open(directory);
    await backUp(store, name, filesOf({ a: 'first' }));
    const [hash] = readdirSync(join(directory, 'versions')) as [string];
    linkSync(join(directory, 'versions', hash, '1'), join(directory, 'versions', hash, '.new'));
    const copy = copyOf(directory);
    folder(copy);
    const again = await open(copy);
    await backUp(again, name, filesOf({ a: 'second' }));
    const reopened = await open(copy);
    const versions = await versionsIn(reopened);
    expect(versions.map(({ version }) => version)).toEqual([1, 2]);
    expect(await readBack(reopened, versions[0]!)).toEqual(filesOf({ a: 'first' }));
  });

  it('that is made after all were forgotten is not taken for a forgotten one', async () => {
    const store = await open();
    await backUp(store, name, filesOf({ a: 'first' }));
    await onlyVersion(store);
    expect(await store.forget(name)).toBe(1);
    expect(await backUp(store, name, filesOf({ a: 'second' }))).toBe(3);
    expect(await readBack(store, await onlyVersion(store))).toEqual(filesOf({ a: 'second' }));
  });

  it('has a number that no other had before, after any forgetting, and after a restart', async () => {
    const directory = folder();
    const store = await open(directory);
    for (const files of [filesOf({ a: '1' }), filesOf({ a: '2' })]) await backUp(store, name, files);
    await store.forget(name);
    expect(await store.newest(name)).toEqual({ number: 3, version: undefined });
    const again = await open(directory);
    await expect(backUp(again, name, filesOf({ a: '3' }), { base: 0 })).rejects.toThrow(SupersededError);
    // One that was under way when all were forgotten comes too late.
    await expect(backUp(again, name, filesOf({ a: '3' }), { base: 2 })).rejects.toThrow(SupersededError);
    expect(await backUp(again, name, filesOf({ a: '3' }))).toBe(4);
    await again.forget(name);
    expect(await again.forget(name)).toBe(0);
    expect(await backUp(store, name, filesOf({ a: '4' }))).toBe(7);
  });

  it.each(['emptied', 'removed'])('has such a number though the file that holds the last one was %s', async (what) => {
    const store = await open();
    for (const a of ['1', '2', '3']) await backUp(store, name, filesOf({ a }));
    await versionsIn(store);
    await store.forget(name, () => [3]);
    const [key] = readdirSync(join(store.directory, 'versions')) as [string];
    const file = join(store.directory, 'versions', key, 'name');
    await (what === 'emptied' ? writeFile(file, '') : rm(file));
    const number = await backUp(store, name, filesOf({ a: '4' }));
    expect(number).toBeGreaterThan(3);
    expect(await readBack(store, (await versionsIn(store)).at(-1)!)).toEqual(filesOf({ a: '4' }));
    expect(await backUp(store, name, filesOf({ a: '5' }))).toBe(number + 1);
  });
});

describe('retention', () => {
  it('keeps the newest versions, each as it was, and goes on counting', async () => {
    const store = await open();
    for (let number = 1; number <= 7; number++)
      expect(await backUp(store, name, filesOf({ a: `v${number}` }), { keep: 3 })).toBe(number);
    const versions = await versionsIn(store);
    expect(versions.map(({ version }) => version)).toEqual([5, 6, 7]);
    for (const version of versions) expect(await readBack(store, version)).toEqual(filesOf({ a: `v${version.version}` }));
    expect(await store.newest(name)).toMatchObject({ number: 7, version: { version: 7 } });
  });

  it('removes what is chosen, of this name only, and gives no number again', async () => {
    const store = await open();
    const elsewhere = 'other docs';
    for (const each of [name, elsewhere])
      for (let number = 1; number <= 4; number++) await backUp(store, each, filesOf({ a: `v${number}` }));
    expect(await store.forget(name, (versions) => versions.map(({ version }) => version).filter((number) => number < 4))).toBe(3);
    expect(await store.forget(name, () => [])).toBe(0);
    expect((await versionsIn(store)).map((version) => `${version.name} ${version.version}`).toSorted()).toEqual([
      'docs 4',
      'other docs 1',
      'other docs 2',
      'other docs 3',
      'other docs 4',
    ]);
    expect(await store.forget(elsewhere, () => [4, 2])).toBe(2);
    expect(await store.newest(elsewhere)).toMatchObject({ number: 4, version: { version: 3 } });
    expect(await backUp(store, elsewhere, filesOf({ a: 'v5' }))).toBe(5);
  });

  it('that retention removes while it is listed is replaced by the one that came', async () => {
    const [one, other] = await two();
    await backUp(other, name, filesOf({ a: '1' }));
    const readdir = one.disk.readdir.bind(one.disk);
    vi.spyOn(one.disk, 'readdir').mockImplementationOnce(async (folder) => {
      const names = await readdir(folder);
      await backUp(other, name, filesOf({ a: '2' }));
      await other.forget(name, () => [1]);
      return names;
    });
    expect(await one.versions(name)).toMatchObject([{ version: 2 }]);
  });

  it('forgets a name as a whole, and no other', async () => {
    const store = await open();
    await backUp(store, name, filesOf({ a: 'x' }));
    await backUp(store, 'docs/sub', filesOf({ a: 'x' }));
    expect(await store.forget(name)).toBe(1);
    expect(await store.forget(name)).toBe(0);
    expect((await versionsIn(store)).map((version) => version.name)).toEqual(['docs/sub']);
    expect(await store.newest(name)).toEqual({ number: 3, version: undefined });
    expect(await store.newest('never')).toEqual({ number: 0, version: undefined });
  });
});

describe('content', () => {
  it('that is equal is stored once, across versions and names', async () => {
    const store = await open();
    const files = filesOf({ a: noise(seededRandom(2), 100_000), b: noise(seededRandom(3), 50_000) });
    await backUp(store, name, files, { blobsInBundle: 50 });
    const { bytes } = store.usage();
    expect(bytes).toBeGreaterThan(150_000);
    await backUp(store, name, new Map([...files, ['copy', files.get('a')!]]));
    await backUp(store, 'other docs', files);
    await backUp(store, 'else/where', new Map([['renamed', files.get('b')!]]));
    expect(store.usage().bytes).toBeLessThan(bytes * 1.2);
    expect(await versionsIn(store)).toHaveLength(4);
  });

  it('that two transfers bring at once is stored once', async () => {
    const store = await open();
    const bundle = encodeBundle([blobOf(noise(seededRandom(4), 1000))]);
    const sizes = await Promise.all([store.keep(bundle), store.keep(bundle), store.keep(bundle)]);
    expect(sizes.toSorted((a, b) => a - b)).toEqual([0, 0, bundle.length]);
    await store.writer.flush();
    expect(store.usage().bytes).toBe(bundle.length);
  });

  it('that is new is kept of a bundle, and the rest left out', async () => {
    const store = await open();
    const [known, fresh] = [blobOf(noise(seededRandom(5), 3000)), blobOf(noise(seededRandom(6), 300))];
    await store.keep(encodeBundle([known]));
    const grown = await store.keep(encodeBundle([known, fresh, fresh]));
    expect(grown).toBeLessThan(500);
    await store.writer.flush();
    for (const { hash, bytes } of [known, fresh]) expect(await store.readBlob(hash)).toEqual(bytes);
  });

  it('that is not what its hash says is refused, and nothing of it kept', async () => {
    const store = await open();
    const good = blobOf('good');
    await expect(store.keep(encodeBundle([good, { hash: blobOf('a').hash, bytes: Buffer.from('b') }]))).rejects.toThrow(
      MalformedBundleError,
    );
    await expect(store.keep(Buffer.from('rubbish'))).rejects.toThrow(MalformedBundleError);
    expect(store.lacks(good.hash)).toBe(true);
    await store.writer.flush();
    expect(store.usage()).toEqual({ packs: 0, bytes: 0 });
  });

  it('is readable before it is flushed, and lacked until then by others only', async () => {
    const [one, other] = await two();
    const blob = blobOf('fresh');
    await one.keep(encodeBundle([blob]));
    expect(one.lacks(blob.hash)).toBe(false);
    await other.index.refresh();
    expect(other.lacks(blob.hash)).toBe(true);
    expect(await one.readBlob(blob.hash)).toEqual(blob.bytes);
    expect(await other.readBlob(blob.hash)).toEqual(blob.bytes);
  });

  it('that came while the picture of the packs was made anew is in it', async () => {
    const [one, other] = await two();
    await backUp(other, name, filesOf({ a: 'some' }));
    await one.index.refresh();
    await other.index.mark('some-pack', blobOf('whatever').hash);
    // A pack comes while the first is read again.
    const bundlesOf = one.index.bundlesOf.bind(one.index);
    const blobs = [blobOf('first')];
    const coming = [...blobs];
    vi.spyOn(one.index, 'bundlesOf').mockImplementation(async (pack) => {
      const next = coming.shift();
      if (next !== undefined) {
        await one.keep(encodeBundle([next]));
        await one.writer.flush();
      }
      return bundlesOf(pack);
    });
    await one.index.refresh();
    expect(coming.length).toBeLessThan(blobs.length);
    expect(blobs.slice(0, blobs.length - coming.length).filter(({ hash }) => one.lacks(hash))).toEqual([]);
  });

  it('that has been moved to another pack by another process is found there', async () => {
    const [one, other] = await two();
    await backUp(one, name, filesOf({ a: 'stays', b: noise(seededRandom(8), 2000) }), { blobsInBundle: 1 });
    const files = filesOf({ a: 'stays' });
    await backUp(one, name, files, { keep: 1 });
    const version = await onlyVersion(other);
    expect(await readBack(other, version)).toEqual(files);
    expect((await sweep(one, afterGrace)).packs).toBeGreaterThan(0);
    expect(await readBack(other, version)).toEqual(files);
  });

  it('in two packs is whole as long as one copy is', async () => {
    const [one, other] = await two();
    const files = filesOf({ a: noise(seededRandom(9), 500) });
    await keepBlobs(one, files);
    await backUp(other, name, files);
    await one.writer.flush();
    await one.index.refresh();
    const { hash } = blobOf(files.get('a')!);
    await one.index.mark(one.index.packOf(hash)!, hash);
    await one.index.refresh();
    expect(await one.missingOf(await onlyVersion(one))).toEqual([]);
    await sweep(one, afterGrace);
    expect(await readBack(one, await onlyVersion(one))).toEqual(files);
  });
});

describe('a folder', () => {
  it('of something else is refused, and one that is empty is not', async () => {
    const directory = folder();
    await (await open(join(directory, 'deep', 'er'))).close();
    await expect(openStore(directory)).rejects.toThrow('is not empty and no store');
  });

  it('whose format file is gone or that of something else is told apart', async () => {
    const directory = folder();
    const store = await open(directory);
    await backUp(store, name, filesOf({ a: 'x' }));
    await sweep(store, afterGrace);
    await store.close();
    await rm(join(directory, 'format'));
    expect(await onlyVersion(await openReadOnly(directory))).toMatchObject({ version: 1 });
    const again = await open(directory);
    expect(await readBack(again, await onlyVersion(again))).toEqual(filesOf({ a: 'x' }));
    await writeFile(join(directory, 'format'), 'x');
    expect(await onlyVersion(await openReadOnly(directory))).toMatchObject({ version: 1 });
    await expect(openStore(directory)).rejects.toThrow(NoStoreError);
    await replaceRecord(join(directory, 'format'), { store: 'another', format: 1 }, systemDisk);
    for (const other of [openStore, openReadOnly]) await expect(other(directory)).rejects.toThrow(NoStoreError);
  });

  it('may be opened and closed by many at once', async () => {
    const directory = folder();
    const results = await Promise.allSettled(
      Array.from({ length: 12 }, async (_, index) => {
        for (let round = 0; round < 4; round++) {
          const store = await openStore(directory);
          await store.keep(encodeBundle([blobOf(`${index} ${round}`)]));
          await store.writer.takeOver();
          await store.close();
        }
      }),
    );
    expect(results.flatMap((result) => (result.status === 'rejected' ? [(result.reason as Error).message] : []))).toEqual([]);
    const store = await open(directory);
    for (let index = 0; index < 12; index++) expect(store.lacks(blobOf(`${index} 3`).hash)).toBe(false);
  });

  it('that dead writers left is taken over by many at once, and nothing of it is lost', async () => {
    const directory = folder();
    const blobs = Array.from({ length: 8 }, (_, index) => blobOf(`blob ${index}`));
    for (const blob of blobs) await (await open(directory)).keep(encodeBundle([blob]));
    const copy = copyOf(directory);
    folder(copy);
    const results = await Promise.allSettled(Array.from({ length: 6 }, () => open(copy)));
    expect(results.flatMap((result) => (result.status === 'rejected' ? [(result.reason as Error).message] : []))).toEqual([]);
    const store = await open(copy);
    expect(blobs.filter(({ hash }) => store.lacks(hash))).toEqual([]);
  });
});

describe('a store', () => {
  // Hundreds of seeds: lives.chaos.test.ts.
  const options = { env: process.env, file: import.meta.filename };

  it('has all that is listed, byte for byte, after anything that happens to it', () =>
    simulate({ ...options, seeds: 20 }, anythingHappens));

  it('has all that was listed when its process is killed in the middle', () =>
    simulate({ ...options, seeds: 8 }, killedInTheMiddle));
});
