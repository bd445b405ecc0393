import { existsSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { eventually, seededRandom, type Random } from '@lab/testing';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { FakeDisk } from '../test/fake-disk.ts';
import {
  afterGrace,
  backUp,
  blobOf,
  bytesIn,
  copyOf,
  keepBlobs,
  newFolder,
  noise,
  onlyVersion,
  ownStores,
  openStore,
  readBack,
  remove,
  text,
  versionsIn,
  type Files,
  whole,
} from '../test/small-store.ts';
import { decodeBundle, encodeBundle, headerBytesOf, type Blob } from './bundle.ts';
import { scrub, sliceCount, sweep } from './housekeeping.ts';
import { ownRecord } from './record.ts';
import { MissingBlobsError, type Store, type Version } from './store.ts';

const name = 'docs';

const { folder, open } = ownStores();
afterEach(() => void vi.restoreAllMocks());

const filesOf = (contents: Record<string, Buffer | string>): Files =>
  new Map(Object.entries(contents).map(([path, content]) => [path, Buffer.from(content)]));

/** Of these lengths, one of two compressible. */
const manyFiles = (random: Random, count: number, [min, max]: [number, number]): Files =>
  new Map(
    Array.from({ length: count }, (_, index) => {
      const length = random.integer(min, max);
      return [`file-${index}`, index % 2 === 0 ? noise(random, length) : text(random, length)] as const;
    }),
  );

async function flip(path: string, at: number, mask = 0x41): Promise<void> {
  const bytes = await readFile(path);
  bytes[at]! ^= mask;
  await writeFile(path, bytes);
}

/** Where a blob's bundle is on disk. */
async function placeOf(
  store: Store<Version>,
  hash: string,
): Promise<{ path: string; offset: number; payloadAt: number; payloadBytes: number }> {
  const { pack, offset } = store.index.placeOf(hash)!;
  const { header } = (await store.index.find({ pack, offset }))!;
  const payloadAt = offset + headerBytesOf(header.blobs.length);
  return { path: join(store.directory, 'packs', `${pack}.pack`), offset, payloadAt, payloadBytes: header.payloadBytes };
}

const marks = (store: Store<Version>): string[] => readdirSync(join(store.directory, 'damaged'));

describe('scrubbing', () => {
  it('of a sound store finds nothing, and reads every byte of its packs', async () => {
    const store = await open();
    await backUp(store, name, manyFiles(seededRandom(1), 30, [0, 3000]));
    const heard: number[] = [];
    expect(await scrub(store, undefined, (bytes) => heard.push(bytes))).toEqual({
      bytes: store.usage().bytes,
      findings: [],
    });
    expect(heard.reduce((sum, bytes) => sum + bytes, 0)).toBe(store.usage().bytes);
  });

  it('reads each pack in one of the slices of a cycle', async () => {
    const store = await open();
    for (let version = 0; version < 20; version++) await backUp(store, name, filesOf({ a: `version ${version}` }));
    let bytes = 0;
    for (let slice = 0; slice < sliceCount; slice++) bytes += (await scrub(store, slice)).bytes;
    expect(bytes).toBe(store.usage().bytes);
  });

  it('finds 1,000 of 1,000 flipped bytes, names the blobs that they spoilt and no others, and what a node brings again heals them', async () => {
    const random = seededRandom(2);
    const store = await open();
    const files = manyFiles(random, 1100, [60, 400]);
    await backUp(store, name, files, { blobsInBundle: 1 });
    const version = await onlyVersion(store);
    const hashes = random.shuffle([...files.values()].map((content) => blobOf(content).hash));
    const spoilt = hashes.slice(0, 1000);
    const contents = await bytesIn(join(store.directory, 'packs'));
    for (const hash of spoilt) {
      const { path, payloadAt, payloadBytes } = await placeOf(store, hash);
      contents.get(path)![payloadAt + random.integer(0, payloadBytes - 1)]! ^= random.integer(1, 255);
    }
    for (const [path, bytes] of contents) await writeFile(path, bytes);

    const { findings } = await scrub(store, undefined);
    expect(findings).toHaveLength(1000);
    expect(new Set(findings.map(({ what }) => what))).toEqual(new Set(['content']));
    const lost = await store.missingOf(version);
    expect(lost).toHaveLength(findings.filter(({ repaired }) => !repaired).length);
    expect(lost.length).toBeGreaterThan(900);
    expect(new Set(spoilt)).toEqual(new Set([...lost, ...spoilt]));
    for (const hash of hashes.slice(1000)) await store.readBlob(hash);
    await expect(store.readBlob(lost[0]!)).rejects.toThrow(MissingBlobsError);
    expect((await scrub(store, undefined)).findings.filter(({ what }) => what === 'missing')).toEqual([]);

    expect(lost.every((hash) => store.lacks(hash))).toBe(true);
    await keepBlobs(store, files, 20);
    await store.writer.flush();
    expect(await store.missingOf(version)).toEqual([]);
    await sweep(store, afterGrace);
    expect(marks(store)).toEqual([]);
    expect(store.index.damagedHashes().size).toBe(0);
    expect((await scrub(store, undefined)).findings).toEqual([]);
    expect(await readBack(store, version)).toEqual(files);
  });

  /** Fewer where somebody waits for an answer: `npm test` sets it. */
  const flips = Number(process.env['SEEDS'] ?? 100);
  it.each([0, 1, 2])(
    'never passes over a flipped byte, in whatever file it is, and never gives out what is wrong (part %d)',
    async (part) => {
      const random = seededRandom(100 + part);
      const directory = folder();
      const store = await open(directory);
      const versions = new Map<string, Files>();
      for (const path of ['docs']) {
        const files = manyFiles(random, 3, [0, 1500]);
        versions.set(`${path} ${await backUp(store, path, files)}`, files);
      }
      await ownRecord(store, 'registry').save({ tasks: [] });
      await store.close();
      const snapshot = await bytesIn(directory);
      const places = [...snapshot].filter(([path, bytes]) => bytes.length > 0 && !path.endsWith('lock'));
      const failures: string[] = [];
      for (let count = 0; count < flips; count++) {
        const [path, bytes] = random.pick(places);
        const at = random.integer(0, bytes.length - 1);
        await flip(path, at, random.integer(1, 255));
        const said = await whatIsSaid(directory, versions);
        if (said !== undefined) failures.push(`${path.slice(directory.length + 1)}:${at} of ${bytes.length}: ${said}`);
        await putBack(directory, snapshot);
      }
      expect(failures).toEqual([]);
    },
  );

  it('repairs the header of a bundle from the index, and the index from the pack', async () => {
    const store = await open();
    const files = manyFiles(seededRandom(3), 6, [10, 500]);
    await backUp(store, name, files);
    const { path, offset } = await placeOf(store, blobOf(files.get('file-0')!).hash);
    await flip(path, offset + 9);
    expect((await scrub(store, undefined)).findings).toMatchObject([{ what: 'header', repaired: true }]);
    expect((await scrub(store, undefined)).findings).toEqual([]);
    await flip(path.replace('.pack', '.index'), 20);
    const again = await open(store.directory);
    expect((await scrub(again, undefined)).findings).toMatchObject([{ what: 'index', repaired: true }]);
    expect((await scrub(again, undefined)).findings).toEqual([]);
    expect(await readBack(again, await onlyVersion(again))).toEqual(files);
  });

  it('is not needed to give out a bundle whose header alone is damaged: the index has it too', async () => {
    const store = await open();
    const blob = blobOf(noise(seededRandom(26), 300));
    await store.keep(encodeBundle([blob]));
    await store.writer.flush();
    const { path, offset } = await placeOf(store, blob.hash);
    await flip(path, offset + 9);
    for await (const { bytes } of store.bundlesWith([blob.hash])) expect(decodeBundle(bytes).blobs).toEqual([blob]);
  });

  it('takes back what a reader thought damaged when the header, which alone was so, is whole again', async () => {
    const store = await open();
    const files = filesOf({ a: noise(seededRandom(4), 300) });
    await backUp(store, name, files);
    const version = await onlyVersion(store);
    const { hash } = blobOf(files.get('a')!);
    const { path, offset } = await placeOf(store, hash);
    await flip(path, offset + 9);
    await store.readBlob(hash).catch(() => undefined);
    await scrub(store, undefined);
    await sweep(store, afterGrace);
    expect(await store.missingOf(version)).toEqual([]);
    expect(await readBack(store, version)).toEqual(files);
  });

  it('takes for repaired what has a sound copy in another pack, and only while that is sound', async () => {
    const store = await open();
    const files = filesOf({ a: noise(seededRandom(27), 300) });
    await backUp(store, name, files);
    const { hash } = blobOf(files.get('a')!);
    const spoil = async (): Promise<void> => {
      const { path, payloadAt } = await placeOf(store, hash);
      await flip(path, payloadAt);
    };
    await spoil();
    expect((await scrub(store, undefined)).findings).toMatchObject([{ what: 'content', repaired: false }]);
    await keepBlobs(store, files);
    await store.flush();
    expect((await scrub(store, undefined)).findings).toMatchObject([{ what: 'content', repaired: true }]);
    await spoil();
    const both = [{ repaired: false }, { repaired: false }];
    expect((await scrub(store, undefined)).findings).toMatchObject(both);
  });

  it('says of what is missing how many versions need it', async () => {
    const store = await open();
    const a = noise(seededRandom(28), 300);
    await keepBlobs(store, filesOf({ a }));
    await store.flush();
    await backUp(store, name, filesOf({ a }));
    await backUp(store, name, filesOf({ a, b: 'b' }));
    const { path } = await placeOf(store, blobOf(a).hash);
    await rm(path);
    const { findings } = await scrub(store, undefined);
    expect(findings.find(({ place }) => place === `blob ${blobOf(a).hash}`)).toEqual({
      ...{ what: 'missing', place: `blob ${blobOf(a).hash}`, repaired: false },
      neededBy: { name, version: 1, others: 1 },
    });
  });

  it('finds a pack that is gone, cut off, or empty', async () => {
    const store = await open();
    const files = manyFiles(seededRandom(5), 10, [10, 500]);
    await backUp(store, name, files, { blobsInBundle: 1 });
    const pristine = copyOf(store.directory);
    folder(pristine);
    for (const damage of ['gone', 'cut', 'empty']) {
      const copy = copyOf(pristine);
      folder(copy);
      const packs = join(copy, 'packs');
      const pack = join(
        packs,
        readdirSync(packs).find((name) => name.endsWith('.pack'))!,
      );
      const bytes = await readFile(pack);
      if (damage === 'gone') await rm(pack);
      else await writeFile(pack, damage === 'cut' ? bytes.subarray(0, bytes.length / 2) : '');
      const again = await open(copy);
      const { findings } = await scrub(again, undefined);
      expect(findings.filter(({ repaired }) => !repaired).length).toBeGreaterThan(0);
      expect((await again.missingOf(await onlyVersion(again))).length).toBeGreaterThan(0);
      await again.writer.flush();
    }
  });

  it('reads a pack whose index is gone from its beginning', async () => {
    const store = await open();
    const files = filesOf({ a: 'x', b: noise(seededRandom(6), 700) });
    await backUp(store, name, files);
    const packs = join(store.directory, 'packs');
    const [index] = readdirSync(packs).filter((name) => name.endsWith('.index')) as [string];
    rmSync(join(packs, index));
    // A younger one may be about to get its index.
    utimesSync(join(packs, index.replace('.index', '.pack')), 1000, 1000);
    const again = await open(store.directory);
    expect((await scrub(again, undefined)).findings.length).toBeGreaterThan(0);
    expect(await readBack(again, await onlyVersion(again))).toEqual(files);
  });

  it('or a read, of a pack that is gone ends, and says what is missing', async () => {
    const store = await open();
    const files = filesOf({ a: noise(seededRandom(25), 300) });
    await backUp(store, name, files);
    const version = await onlyVersion(store);
    const packs = join(store.directory, 'packs');
    rmSync(
      join(
        packs,
        readdirSync(packs).find((name) => name.endsWith('.pack'))!,
      ),
    );
    const { hash } = blobOf(files.get('a')!);
    const error = await eventually(() => store.readBlob(hash).catch((caught: unknown) => caught), { timeoutMs: 3000 });
    expect(error).toBeInstanceOf(MissingBlobsError);
    expect((await scrub(store, undefined)).findings).toMatchObject([{ what: 'missing', repaired: false }]);
    await expect(whole(store.manifestOf(version))).rejects.toThrow(MissingBlobsError);
  });

  it('marks what is damaged for all processes', async () => {
    const [one, other] = await two();
    const files = filesOf({ a: noise(seededRandom(7), 300), b: noise(seededRandom(8), 300) });
    await backUp(one, name, files, { blobsInBundle: 1 });
    await other.index.refresh();
    const { hash } = blobOf(files.get('a')!);
    const { path, payloadAt } = await placeOf(one, hash);
    await flip(path, payloadAt);
    await scrub(one, undefined);
    await other.index.refresh();
    expect(other.lacks(hash)).toBe(true);
    expect(await other.missingOf(await onlyVersion(other))).toEqual([hash]);
    await keepBlobs(other, files);
    await other.writer.flush();
    await one.index.refresh();
    expect(await readBack(one, await onlyVersion(one))).toEqual(files);
  });
});

/** The file below `versions` of the only name. */
const versionsFile = (store: Store<Version>, file: string): string => {
  const versions = join(store.directory, 'versions');
  return join(versions, readdirSync(versions)[0]!, file);
};

describe('both copies of a record', () => {
  /** The times of a file that a disk has damaged are as they were. */
  async function rot(store: Store<Version>, file: string): Promise<void> {
    const path = versionsFile(store, file);
    const { size, mtimeMs } = statSync(path);
    await writeFile(path, Buffer.alloc(size));
    utimesSync(path, mtimeMs / 1000, mtimeMs / 1000);
  }

  it('that were emptied are missed at once, and written again by a scrub of who knows them', async () => {
    const store = await open();
    const files = filesOf({ a: 'one' });
    await backUp(store, name, files);
    const version = await onlyVersion(store);
    await writeFile(versionsFile(store, '1'), '');
    expect(await store.versions()).toEqual([{ name, version: 1, lost: true }]);
    expect((await scrub(store, 0)).findings).toMatchObject([{ what: 'record', repaired: true }]);
    for (const each of [store, await open(store.directory)]) expect(await each.versions()).toEqual([version]);
    expect((await scrub(store, 0)).findings).toEqual([]);
  });

  it('that a scrub finds damaged count as lost by all processes, also those that have read them', async () => {
    const [one, other] = await two();
    await backUp(one, name, filesOf({ a: 'one' }));
    await onlyVersion(one);
    await rot(one, '1');
    expect((await scrub(other, 0)).findings).toMatchObject([{ what: 'record', repaired: false }]);
    const { changes } = one;
    await one.refresh();
    expect(one.changes).toBeGreaterThan(changes);
    expect(await one.versions()).toEqual([{ name, version: 1, lost: true }]);
    expect((await scrub(one, 0)).findings).toMatchObject([{ what: 'record', repaired: true }]);
    expect(await other.versions()).toMatchObject([{ version: 1, manifest: expect.any(Array) as string[] }]);
  });

  it('of a name are written again with what a version says, and no number is given again', async () => {
    const store = await open();
    for (const a of ['1', '2', '3']) await backUp(store, name, filesOf({ a }));
    await store.forget(name, () => [3]);
    await writeFile(versionsFile(store, 'name'), '');
    expect((await scrub(store, 0)).findings).toMatchObject([{ what: 'record', repaired: true }]);
    await writeFile(versionsFile(store, '1'), '');
    const again = await open(store.directory);
    expect(await again.versions()).toMatchObject([{ name, version: 1, lost: true }, { version: 2 }]);
    expect(await backUp(again, name, filesOf({ a: '4' }))).toBeGreaterThan(3);
  });

  it('of a name without versions are written again, and name it when there is one', async () => {
    const store = await open();
    await backUp(store, name, filesOf({ a: '1' }));
    await store.forget(name);
    await writeFile(versionsFile(store, 'name'), '');
    expect((await scrub(store, 0)).findings).toMatchObject([{ what: 'record', repaired: true }]);
    expect((await scrub(store, 0)).findings).toEqual([]);
    const number = await backUp(store, name, filesOf({ a: '2' }));
    expect(number).toBeGreaterThan(2);
    await writeFile(versionsFile(store, String(number)), '');
    expect(await (await open(store.directory)).versions()).toEqual([{ name, version: number, lost: true }]);
  });
});

/** What is wrong with how a damaged store behaves; `undefined` where nothing is. */
async function whatIsSaid(directory: string, versions: ReadonlyMap<string, Files>): Promise<string | undefined> {
  let store: Store<Version>;
  try {
    store = await openStore(directory);
  } catch (error) {
    return `does not open: ${(error as Error).message}`;
  }
  try {
    const { findings } = await scrub(store, undefined);
    if (findings.length === 0) return 'not found';
    const listed = await store.versions();
    if (listed.length !== versions.size) return `${listed.length} versions`;
    const repaired = findings.every((finding) => finding.repaired);
    for (const version of listed) {
      const expected = versions.get(`${version.name} ${version.version}`);
      if (expected === undefined) return `lists ${JSON.stringify([version.name, version.version])}`;
      const wrong = 'lost' in version ? 'lost' : await wrongIn(store, version, expected, repaired);
      if (wrong !== undefined) return wrong;
    }
    if (!repaired) return undefined;
    const again = await scrub(store, undefined);
    return again.findings.every(({ what }) => what === 'content') ? undefined : 'found again after the repair';
  } finally {
    await store.close();
  }
}

async function wrongIn(
  store: Store<Version>,
  version: Parameters<typeof readBack>[1],
  expected: Files,
  repaired: boolean,
): Promise<string | undefined> {
  try {
    const files = await readBack(store, version);
    return [...expected].every(([path, content]) => files.get(path)?.equals(content)) ? undefined : 'gives out what is wrong';
  } catch (error) {
    return error instanceof MissingBlobsError && !repaired ? undefined : `said to be repaired, but: ${(error as Error).message}`;
  }
}

async function putBack(directory: string, snapshot: ReadonlyMap<string, Buffer>): Promise<void> {
  const found = await bytesIn(directory);
  for (const path of found.keys()) if (!snapshot.has(path)) await rm(path, { force: true });
  for (const [path, bytes] of snapshot) {
    if (found.get(path)?.equals(bytes) === true) continue;
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bytes);
  }
}

async function two(): Promise<[Store<Version>, Store<Version>]> {
  const directory = folder();
  return [await open(directory), await open(directory)];
}

describe('a bundle', () => {
  it('of which one blob is damaged still gives out the others', async () => {
    const store = await open();
    const [spoilt, sound] = [blobOf(noise(seededRandom(9), 300)), blobOf(noise(seededRandom(10), 300))];
    await store.keep(encodeBundle([spoilt, sound]));
    await store.writer.flush();
    const { path, payloadAt } = await placeOf(store, spoilt.hash);
    await flip(path, payloadAt + 5);
    expect(await store.readBlob(sound.hash)).toEqual(sound.bytes);
    await expect(store.readBlob(spoilt.hash)).rejects.toThrow(MissingBlobsError);
    await scrub(store, undefined);
    expect([spoilt, sound].map(({ hash }) => store.lacks(hash))).toEqual([true, false]);
    expect(await store.readBlob(sound.hash)).toEqual(sound.bytes);
  });

  it('with one damaged blob keeps the others through a sweep', async () => {
    const store = await open();
    const files = filesOf({ a: noise(seededRandom(11), 300), b: noise(seededRandom(12), 300), c: noise(seededRandom(13), 300) });
    await backUp(store, name, files, { blobsInBundle: 3 });
    const spoilt = blobOf(files.get('b')!).hash;
    const { path, payloadAt } = await placeOf(store, spoilt);
    await flip(path, payloadAt + 450);
    await scrub(store, undefined);
    await sweep(store, afterGrace);
    const version = await onlyVersion(store);
    expect(await store.missingOf(version)).toEqual([spoilt]);
    await keepBlobs(store, files);
    await store.writer.flush();
    expect(await readBack(store, version)).toEqual(files);
    await sweep(store, afterGrace);
    expect(marks(store)).toEqual([]);
  });
});

/** What happens after a sweep has looked at all versions. */
function beforeLock(store: Store<Version>, work: () => Promise<unknown>): void {
  const run = store.mutex.run.bind(store.mutex);
  vi.spyOn(store.mutex, 'run').mockImplementationOnce(async (locked) => {
    await work();
    return run(locked);
  });
}

describe('sweeping', () => {
  it('makes room of what no version needs, once it is old enough', async () => {
    const store = await open();
    await backUp(store, name, filesOf({ a: noise(seededRandom(14), 50_000) }));
    await backUp(store, name, filesOf({ a: 'small' }), { keep: 1 });
    const nowMs = (await stat(join(store.directory, 'packs'))).mtimeMs;
    expect(await sweep(store, { nowMs, graceMs: 60_000 })).toMatchObject({ packs: 0 });
    const before = store.usage().bytes;
    const swept = await sweep(store, afterGrace);
    expect(swept.packs).toBeGreaterThan(0);
    expect(store.usage().bytes).toBe(before - swept.bytes);
    expect(store.usage().bytes).toBeLessThan(1000);
    expect(await readBack(store, await onlyVersion(store))).toEqual(filesOf({ a: 'small' }));
  });

  it('spares nothing for a time that is yet to come', async () => {
    const disk = new FakeDisk({ nowMs: () => 86_400_000 });
    const store = await openStore('/store', disk);
    await keepBlobs(store, filesOf({ a: 'dead' }));
    await store.writer.flush();
    expect(await sweep(store, { nowMs: 86_370_000, graceMs: 60_000 })).toMatchObject({ packs: 0 });
    expect(await sweep(store, { nowMs: 1000, graceMs: 60_000 })).toMatchObject({ packs: 1 });
  });

  it('leaves a pack alone of which little is dead', async () => {
    const store = await open();
    await backUp(store, name, filesOf({ a: noise(seededRandom(15), 9000), b: noise(seededRandom(16), 900) }), {
      blobsInBundle: 1,
    });
    await backUp(store, name, filesOf({ a: noise(seededRandom(15), 9000) }), { keep: 1 });
    const packs = store.usage().packs;
    const { packs: swept } = await sweep(store, afterGrace);
    expect(swept).toBeLessThan(packs);
  });

  it('puts many small packs together', async () => {
    const store = await open();
    for (let version = 1; version <= 20; version++) await backUp(store, name, filesOf({ [`f${version}`]: `version ${version}` }));
    expect(store.usage().packs).toBe(20);
    await sweep(store, afterGrace);
    expect(store.usage().packs).toBe(1);
    for (const version of await versionsIn(store))
      expect(await readBack(store, version)).toEqual(filesOf({ [`f${version.version}`]: `version ${version.version}` }));
  });

  it.each([0, 10])('spares what a transfer under way has sent, %d ms after it began', async (laterMs) => {
    const [one, other] = await two();
    const endTransfer = await one.writer.beginTransfer();
    await keepBlobs(one, filesOf({ a: 'under way' }));
    await one.writer.flush();
    const packs = join(one.directory, 'packs');
    const pack = join(
      packs,
      readdirSync(packs).find((name) => name.endsWith('.pack'))!,
    );
    const seconds = ((await one.writer.oldestTransferMs()) + laterMs) / 1000;
    utimesSync(pack, seconds, seconds);
    expect(await sweep(other, afterGrace)).toMatchObject({ packs: 0 });
    expect(readdirSync(packs)).toHaveLength(2);
    await endTransfer();
    expect(await sweep(other, afterGrace)).toMatchObject({ packs: 1 });
  });

  it('is left to the one process that is at it', async () => {
    const [one, other] = await two();
    await keepBlobs(one, filesOf({ a: 'dead' }));
    await one.writer.flush();
    const results = await Promise.all([sweep(one, afterGrace), sweep(other, afterGrace)]);
    expect(results.map(({ packs }) => packs).toSorted()).toEqual([0, 1]);
  });

  it.each(['manifest', 'record'])('where a %s is damaged removes only what came later, and says so', async (what) => {
    const disk = new FakeDisk({ nowMs: () => nowMs });
    let nowMs = 0;
    const store = await openStore('/store', disk);
    await backUp(store, name, filesOf({ a: 'x' }));
    await backUp(store, 'other docs', filesOf({ b: 'may be theirs too' }));
    await store.forget('other docs');
    const record = join('/store/versions', blobOf(name).hash.slice(0, 32), '1');
    const version = await onlyVersion(store);
    const spoilt = what === 'record' ? record : join('/store/packs', `${store.index.packOf(version.manifest[0]!)}.pack`);
    for (const at of [0, 4096]) disk.spoil(spoilt, at);
    const again = await openStore('/store', disk);
    const packs = await disk.readdir('/store/packs');
    const nothing = { packs: 0, bytes: 0, unknown: ['version 1 of docs'] };
    expect(await sweep(again, afterGrace)).toEqual(nothing);
    nowMs += 60_000;
    await backUp(again, 'other docs', filesOf({ b: 'came later' }));
    await again.forget('other docs');
    expect(await sweep(again, afterGrace)).toMatchObject({ packs: 1, unknown: nothing.unknown });
    expect(await disk.readdir('/store/packs')).toEqual(packs);
    // Whoever gives up the version gets the space.
    await again.forget(name);
    expect(await sweep(again, afterGrace)).toMatchObject({ packs: packs.length / 2, unknown: [] });
    expect(await disk.readdir('/store/damaged')).toEqual([]);
  });

  it('takes nothing of what is being read, until it is read or its reader has died', async () => {
    const [reader, other] = await two();
    const files = filesOf({ a: noise(seededRandom(24), 500) });
    await backUp(other, name, files);
    const version = await onlyVersion(reader);
    const end = await reader.beginReading(version);
    await backUp(other, name, filesOf({ b: 'newer' }), { keep: 1 });
    await other.forget(name);
    await sweep(other, afterGrace);
    expect(await readBack(reader, version)).toEqual(files);
    await end();
    expect((await sweep(other, afterGrace)).packs).toBeGreaterThan(0);
    await expect(readBack(await open(reader.directory), version)).rejects.toThrow(MissingBlobsError);
    await expect(reader.beginReading(version)).rejects.toThrow('version 1 of docs was removed meanwhile');

    await backUp(other, name, files);
    await (await openStore(other.directory)).beginReading(await onlyVersion(other));
    const left = folder(copyOf(other.directory));
    const heir = await open(left);
    await heir.forget(name);
    await sweep(heir, afterGrace);
    expect(heir.usage()).toEqual({ packs: 0, bytes: 0 });
  });

  it('makes room on a disk that has none, and so does what it follows', async () => {
    const disk = new FakeDisk();
    const store = await openStore('/store', disk);
    await backUp(store, name, filesOf({ a: noise(seededRandom(25), 30_000) }));
    disk.bytesMax = disk.usedBytes();
    await expect(backUp(store, name, filesOf({ a: 'other' }))).rejects.toThrow('ENOSPC');
    expect(await store.forget(name)).toBe(1);
    expect((await sweep(store, afterGrace)).packs).toBe(1);
    expect(await backUp(store, name, filesOf({ a: 'other' }))).toBe(3);
  });

  it('has nothing to forget of a name that never had a version, and needs no room for it', async () => {
    const disk = new FakeDisk();
    const store = await openStore('/store', disk);
    disk.bytesMax = disk.usedBytes();
    expect(await store.forget(name)).toBe(0);
  });

  it('keeps what a version needs that was made meanwhile', async () => {
    const [one, other] = await two();
    const files = filesOf({ a: noise(seededRandom(17), 500) });
    await keepBlobs(other, files);
    await other.writer.flush();
    await keepBlobs(other, filesOf({ a: 'dead' }));
    await other.writer.flush();
    beforeLock(one, () => backUp(other, name, files));
    expect((await sweep(one, afterGrace)).packs).toBe(1);
    expect(one.lacks(blobOf('dead').hash)).toBe(true);
    expect(await readBack(one, await onlyVersion(one))).toEqual(files);
  });

  it('keeps what a version needs that was made meanwhile in the place of a forgotten one', async () => {
    const [one, other] = await two();
    await backUp(other, name, filesOf({ a: 'old' }));
    const files = filesOf({ a: noise(seededRandom(18), 500) });
    await keepBlobs(other, files);
    await other.writer.flush();
    beforeLock(one, async () => {
      await other.forget(name);
      await backUp(other, name, files);
    });
    await sweep(one, afterGrace);
    const fresh = await open(one.directory);
    expect(await readBack(fresh, await onlyVersion(fresh))).toEqual(files);
  });

  it('loses nothing when another task takes in meanwhile what another process found', async () => {
    const [one, other] = await two();
    const files = manyFiles(seededRandom(19), 40, [100, 600]);
    await backUp(one, name, new Map([...files, ['dead', noise(seededRandom(20), 20_000)]]), { blobsInBundle: 1 });
    await backUp(one, name, files, { keep: 1 });
    await backUp(one, 'other docs', filesOf({ b: noise(seededRandom(21), 300) }));
    await other.index.refresh();
    const elsewhere = blobOf(noise(seededRandom(21), 300)).hash;
    const append = one.writer.append.bind(one.writer);
    const flush = one.writer.flush.bind(one.writer);
    const bundlesOf = one.index.bundlesOf.bind(one.index);
    const [reached, copied] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    vi.spyOn(one.writer, 'append').mockImplementationOnce(async (bundle, header) => {
      await other.index.mark(other.index.packOf(elsewhere)!, elsewhere);
      // As the next backup in this process looks; that takes until the copying beside it is done.
      vi.spyOn(one.index, 'bundlesOf').mockImplementation(async (pack) => {
        reached.resolve();
        await copied.promise;
        return bundlesOf(pack);
      });
      await Promise.race([reached.promise, one.index.refresh()]);
      return append(bundle, header);
    });
    vi.spyOn(one.writer, 'flush').mockImplementation(async () => {
      copied.resolve();
      await flush();
    });
    await sweep(one, afterGrace);
    const fresh = await open(one.directory);
    const version = (await versionsIn(fresh)).find((each) => each.name === name)!;
    expect(await readBack(fresh, version)).toEqual(files);
  });

  it('forgets marks of what no version needs any more', async () => {
    const store = await open();
    const files = filesOf({ a: noise(seededRandom(22), 400) });
    await backUp(store, name, files);
    const { path, payloadAt } = await placeOf(store, blobOf(files.get('a')!).hash);
    await flip(path, payloadAt);
    await scrub(store, undefined);
    await sweep(store, afterGrace);
    await store.forget(name);
    await sweep(store, afterGrace);
    expect(marks(store)).toEqual([]);
  });
});

describe('what a dead writer left', () => {
  it('is taken over up to the first bundle that is not whole, wherever the pack was cut off', async () => {
    const random = seededRandom(23);
    const source = await open();
    const blobs: Blob[][] = Array.from({ length: 5 }, (_, index) =>
      Array.from({ length: 1 + (index % 3) }, () => blobOf((index % 2 === 0 ? noise : text)(random, random.integer(1, 120)))),
    );
    const bundles = blobs.map(encodeBundle);
    for (const bundle of bundles) await source.keep(bundle);
    const left = await leftBehind(source);
    const ends = bundles.map((_, index) => bundles.slice(0, index + 1).reduce((sum, { length }) => sum + length, 0));
    const cuts = new Set([0, 1, ...ends.flatMap((end) => [end - 1, end, end + 1]).filter((cut) => cut <= ends.at(-1)!)]);
    while (cuts.size < 40) cuts.add(random.integer(0, ends.at(-1)!));
    for (const cut of cuts) {
      const directory = await emptyWith(left, (bytes) => bytes.subarray(0, cut));
      const store = await open(directory);
      const whole = ends.filter((end) => end <= cut).length;
      const there = blobs.map((each) => each.every(({ hash }) => !store.lacks(hash)));
      expect(there).toEqual(blobs.map((_, index) => index < whole));
      expect(store.usage().bytes).toBe(whole === 0 ? 0 : ends[whole - 1]);
      for (const { hash, bytes } of blobs.slice(0, whole).flat()) expect(await store.readBlob(hash)).toEqual(bytes);
      expect((await scrub(store, undefined)).findings).toEqual([]);
      expect(readdirSync(join(directory, 'incoming'))).toEqual([]);
      await store.close();
      remove(directory);
    }
  });

  it('has nothing in it that was not whole on disk, whichever of its bytes is zero or wrong', async () => {
    const random = seededRandom(24);
    const source = await open();
    const blobs = Array.from({ length: 6 }, () => blobOf(noise(random, 100)));
    for (const blob of blobs) await source.keep(encodeBundle([blob]));
    const left = await leftBehind(source);
    for (let count = 0; count < 30; count++) {
      const directory = await emptyWith(left, (bytes) => {
        const [from, to] = [random.integer(0, bytes.length - 1), random.integer(1, 200)];
        return Buffer.from(bytes).fill(random.chance(0.5) ? 0 : random.integer(1, 255), from, Math.min(bytes.length, from + to));
      });
      const store = await open(directory);
      for (const { hash, bytes } of blobs) if (!store.lacks(hash)) expect(await store.readBlob(hash)).toEqual(bytes);
      expect((await scrub(store, undefined)).findings).toEqual([]);
      await store.close();
      remove(directory);
    }
  });

  it('between moving a pack and moving its index counts too', async () => {
    const source = await open();
    await source.keep(encodeBundle([blobOf('moved')]));
    await source.writer.flush();
    const [pack] = (await readdir(join(source.directory, 'packs'))).filter((name) => name.endsWith('.pack')) as [string];
    const copy = copyOf(source.directory);
    folder(copy);
    const [writer] = readdirSync(join(copy, 'incoming')) as [string];
    const index = pack.replace('.pack', '.index');
    await copyFile(join(copy, 'packs', index), join(copy, 'incoming', writer, index));
    await rm(join(copy, 'packs', index));
    const store = await open(copy);
    expect(await store.readBlob(blobOf('moved').hash)).toEqual(blobOf('moved').bytes);
    expect(existsSync(join(copy, 'incoming', writer))).toBe(false);
  });
});

/** The folder of a writer that is not done, under a name that no process has. */
async function leftBehind(store: Store<Version>): Promise<{ name: string; bytes: Buffer }> {
  const incoming = join(store.directory, 'incoming');
  const [writer] = readdirSync(incoming) as [string];
  const name = readdirSync(join(incoming, writer)).find((each) => each.endsWith('.pack'))!;
  return { name, bytes: await readFile(join(incoming, writer, name)) };
}

async function emptyWith({ name, bytes }: { name: string; bytes: Buffer }, damage: (bytes: Buffer) => Buffer): Promise<string> {
  const directory = newFolder();
  const writer = join(directory, 'incoming', 'f'.repeat(32));
  for (const each of ['packs', 'versions', 'damaged', writer])
    await mkdir(each === writer ? writer : join(directory, each), { recursive: true });
  await writeFile(join(writer, 'lock'), '');
  await writeFile(join(writer, name), damage(bytes));
  return directory;
}
