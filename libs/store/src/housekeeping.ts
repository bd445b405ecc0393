/**
 * What keeps a store sound and small: scrubbing, which reads every stored byte again and compares it with its checksum, and the
 * removal of what no version needs. Any process may do either; removal is for one at a time.
 */
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { isDone, readIfThere, replaceFile, seal, sync, unlessGone, unseal } from './durable.ts';
import { blobsOf, encodeBundle, encodeHeader, headerBytesOf, type Blob } from './bundle.ts';
import type { DiskFile } from './disk.ts';
import { HashTable } from './hash-table.ts';
import { bytesOfBundle, readBundle, type PackedBundle } from './pack-index.ts';
import { isLost, isRecordName, type Stored, type Store, type Version } from './store.ts';

/** Whatever its versions are. */
type AnyStore = Store<Version>;

/** One place that is not as it was written. */
export interface Finding {
  what: 'content' | 'header' | 'index' | 'record' | 'missing';
  /** File in the store, with the offset in a pack. */
  place: string;
  /** It was put right from what is stored twice; `content` and `missing` need somebody who keeps the blob again. */
  repaired: boolean;
}

export interface Scrubbed {
  bytes: number;
  findings: Finding[];
}

/** Slices of a cycle of scrubbing: packs by the first two digits of their names, which are random. */
export const sliceCount = 256;

/**
 * Reads again what is stored, all of it or one slice. Damage is marked, so that the store lacks the blob until it is kept again.
 * `progress` hears of every pack.
 */
export async function scrub(
  store: AnyStore,
  slice: number | undefined,
  progress: (bytes: number) => void = () => {},
): Promise<Scrubbed> {
  await store.index.refresh();
  if (slice === undefined || slice === 0) await isDone(adoptPacks(store));
  const result: Scrubbed = { bytes: 0, findings: [] };
  const prefix = slice?.toString(16).padStart(2, '0') ?? '';
  for (const pack of [...store.index.packs]) {
    if (!pack.startsWith(prefix)) continue;
    const scrubbed = await scrubPack(store, pack);
    result.bytes += scrubbed.bytes;
    result.findings.push(...scrubbed.findings);
    progress(scrubbed.bytes);
  }
  // Records are few and small: with the first slice.
  if (slice === undefined || slice === 0) {
    await store.index.refresh();
    result.findings.push(...(await scrubRecords(store)), ...(await findMissing(store)));
  }
  return result;
}

/**
 * Packs without an index: a directory entry was lost, or whoever removed them was killed at it. They get a new one, the same
 * that a writer would give them a moment later. Under the lock, so that nobody removes them meanwhile. An index without a pack goes.
 */
function adoptPacks(store: AnyStore): Promise<void> {
  const packs = join(store.directory, 'packs');
  return store.mutex.run(async () => {
    const names = new Set(await store.disk.readdir(packs));
    for (const name of names) {
      const [, id, kind] = /^(\w+)\.(pack|index)$/.exec(name) ?? [];
      if (kind === 'pack' && !names.has(`${id}.index`)) await store.index.repairIndex(id!);
      // Once more, for a pack is given its name before its index is.
      if (kind === 'index' && !(await isThere(store, join(packs, `${id}.pack`))))
        await store.disk.rm(join(packs, name), { force: true });
    }
    await store.index.refresh();
  });
}

const isThere = async (store: AnyStore, path: string): Promise<boolean> =>
  (await unlessGone(store.disk.stat(path), undefined)) !== undefined;

async function scrubPack(store: AnyStore, pack: string): Promise<Scrubbed> {
  const folder = join(store.directory, 'packs');
  const findings: Finding[] = [];
  const bundles = await soundIndex(store, pack, findings);
  let file: DiskFile;
  try {
    file = await store.disk.open(join(folder, `${pack}.pack`), 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    // Removed meanwhile; what a version needed of it is found to be missing.
    return { bytes: 0, findings: [] };
  }
  try {
    let bytes = 0;
    for (const bundle of bundles) {
      findings.push(...(await scrubBundle(store, pack, file, bundle)));
      bytes += bytesOfBundle(bundle);
    }
    return { bytes, findings };
  } finally {
    await file.close();
  }
}

/** What is in a pack; its index is made anew where it is damaged, now or when this process read it first. */
async function soundIndex(store: AnyStore, pack: string, findings: Finding[]): Promise<PackedBundle[]> {
  const bundles = await store.index.bundlesOf(pack);
  const repaired = store.index.damagedIndexes.get(pack);
  if (repaired !== undefined) findings.push({ what: 'index', place: `packs/${pack}.index`, repaired });
  store.index.damagedIndexes.delete(pack);
  return bundles;
}

async function scrubBundle(store: AnyStore, pack: string, file: DiskFile, bundle: PackedBundle): Promise<Finding[]> {
  const { header, offset } = bundle;
  const place = `packs/${pack}.pack:${offset}`;
  const expected = encodeHeader(header);
  const bytes = await readBundle(file, bundle);
  const payload = bytes.subarray(expected.length);
  const findings: Finding[] = [];
  if (!bytes.subarray(0, expected.length).equals(expected)) {
    const repaired = await isDone(writeHeader(store, pack, expected, offset));
    findings.push({ what: 'header', place, repaired });
  }
  if (payload.length === header.payloadBytes && crc32(payload) === header.payloadCrc) {
    const blobs = blobsOf(header, payload);
    if (!blobs.includes(undefined)) {
      for (const { hash } of header.blobs) await store.index.unmark(pack, hash);
      return findings;
    }
  }
  const sound = blobsOf(header, payload);
  for (const [index, blob] of sound.entries()) if (blob === undefined) await store.index.mark(pack, header.blobs[index]!.hash);
  // Where the flip changed nothing that is read, what is read is stored anew.
  const repaired = !sound.includes(undefined) && (await isDone(rewrite(store, pack, sound as Blob[])));
  return [...findings, { what: 'content', place, repaired }];
}

async function writeHeader(store: AnyStore, pack: string, header: Buffer, offset: number): Promise<void> {
  const file = await store.disk.open(join(store.directory, 'packs', `${pack}.pack`), 'r+');
  try {
    await file.write(header, 0, header.length, offset);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function rewrite(store: AnyStore, pack: string, blobs: readonly Blob[]): Promise<void> {
  await store.writer.append(encodeBundle(blobs));
  await store.writer.flush();
  for (const { hash } of blobs) await store.index.mark(pack, hash);
}

/** Records of versions, of names and of the store's user: each is in its file twice. */
async function scrubRecords(store: AnyStore): Promise<Finding[]> {
  const findings: Finding[] = [];
  const folders = (await store.disk.readdir(join(store.directory, 'versions'))).map((name) => join('versions', name));
  for (const folder of ['.', ...folders]) {
    for (const name of await unlessGone(store.disk.readdir(join(store.directory, folder)), [])) {
      if (!(folder === '.' ? isRecordName(name) : /^(name|\d+)$/.test(name))) continue;
      const bytes = await readIfThere(join(store.directory, folder, name), store.disk);
      const record = bytes === undefined ? { value: undefined, damaged: false } : unseal(bytes);
      if (record?.damaged === false) continue;
      const repaired = record !== undefined && (await isDone(repairRecord(store, folder, name)));
      findings.push({ what: 'record', place: join(folder, name), repaired });
    }
  }
  return findings;
}

/** Under the lock, for others write there too. */
async function repairRecord(store: AnyStore, folder: string, name: string): Promise<void> {
  await store.mutex.run(async () => {
    const path = join(store.directory, folder);
    const record = unseal((await readIfThere(join(path, name), store.disk)) ?? Buffer.alloc(0));
    if (record?.damaged === true) await replaceFile(join(path, name), seal(record.value), store.disk);
  });
}

/** Blobs that a version needs and that no pack has a sound copy of, unless it is marked already. */
async function findMissing(store: AnyStore): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const version of await readableVersions(store)) {
    for (const hash of await store.missingOf(version)) {
      if (store.index.isKnownDamaged(hash)) continue;
      await store.index.mark(undefined, hash);
      findings.push({
        what: 'missing',
        place: `blob ${hash}, of version ${version.version} of ${version.name}`,
        repaired: false,
      });
    }
  }
  return findings;
}

export interface Swept {
  packs: number;
  /** By which the store shrank. */
  bytes: number;
}

export interface SweepOptions {
  nowMs: number;
  /** Packs that are younger stay: whoever was interrupted finds there what it had kept. */
  graceMs: number;
}

/**
 * A pack is written anew when at least this share of it is needed by nothing, or its damaged copies keep it from being trusted.
 */
const deadShareMin = 0.25;
/** Small packs are put together when there are so many; each little version makes one. */
const smallPackBytes = 4 * 1024 * 1024;
const smallPacksMin = 16;

/**
 * Removes packs that no version needs, and writes those anew that are mostly so or are many and small. What is new is durable
 * before what is old goes, and that goes under the lock, after a look at the versions that were made meanwhile. Does nothing
 * while another process is at it.
 */
export async function sweep(store: AnyStore, { nowMs, graceMs }: SweepOptions): Promise<Swept> {
  const alone = await store.disk.tryLock(join(store.directory, 'housekeeping.lock'));
  if (alone === undefined) return { packs: 0, bytes: 0 };
  try {
    return await sweepAlone(store, nowMs, graceMs);
  } finally {
    alone.release();
  }
}

interface PackState {
  pack: string;
  bundles: PackedBundle[];
  bytes: number;
  deadBytes: number;
  marked: boolean;
}

async function sweepAlone(store: AnyStore, nowMs: number, graceMs: number): Promise<Swept> {
  const oldestTransferMs = await store.writer.oldestTransferMs();
  const isSpared = (mtimeMs: number): boolean => mtimeMs > nowMs - graceMs || mtimeMs >= oldestTransferMs - timestampMs;
  await store.index.refresh();
  const versions = await readableVersions(store);
  const live = new HashTable();
  if (!(await eachLive(store, versions, (hash) => live.set(hash, 0)))) return { packs: 0, bytes: 0 };
  // As it is at this moment: beside this, other packs come, and marks.
  const numberOf = new Map(store.index.packs.map((pack, index) => [pack, index + 1]));
  live.update((hash) => numberOf.get(store.index.packOf(hash) ?? '') ?? 0);
  const home: Home = { numberOf, live };
  const states: PackState[] = [];
  for (const pack of store.index.packs) states.push(...(await stateOf(store, pack, home, isSpared)));
  const small = states.filter(({ bytes }) => bytes < smallPackBytes);
  const anew = states.filter(
    (state) =>
      state.deadBytes >= deadShareMin * state.bytes || state.marked || (small.length >= smallPacksMin && small.includes(state)),
  );
  const written = await writeAnew(store, anew, home);
  return removePacks(store, { anew, before: new Set(versions.map(idOf)), live, written });
}

/** The coarsest clock that a file system keeps times by: FAT's. */
const timestampMs = 2_000;

const idOf = ({ name, version }: Stored<Version>): string => JSON.stringify([name, version]);

async function readableVersions(store: AnyStore): Promise<Stored<Version>[]> {
  return (await store.versions()).filter((version): version is Stored<Version> => !isLost(version));
}

/** Of what versions need, the pack that has it, by its number among those that were there; 0 where none has. */
interface Home {
  numberOf: ReadonlyMap<string, number>;
  live: HashTable;
}

const isHome = ({ numberOf, live }: Home, pack: string, hash: string): boolean => live.get(hash) === numberOf.get(pack);

/** `take` gets all that versions need, again and again; false where one's manifest cannot be read, for then nobody knows. */
async function eachLive(store: AnyStore, versions: readonly Stored<Version>[], take: (hash: string) => void): Promise<boolean> {
  for (const version of versions) {
    if (version.manifest.some((hash) => !store.index.has(hash))) return false;
    for await (const hash of store.hashesOf(version)) take(hash);
  }
  return true;
}

/** The state of a pack, if it may be touched. */
async function stateOf(store: AnyStore, pack: string, home: Home, isSpared: (mtimeMs: number) => boolean): Promise<PackState[]> {
  const stats = await unlessGone(store.disk.stat(join(store.directory, 'packs', `${pack}.pack`)), undefined);
  if (stats === undefined || isSpared(stats.mtimeMs)) return [];
  const bundles = await store.index.bundlesOf(pack);
  let deadBytes = 0;
  let marked = false;
  for (const bundle of bundles) {
    const { blobs } = bundle.header;
    const total = blobs.reduce((sum, { bytes }) => sum + bytes, 0);
    const dead = blobs.reduce((sum, { hash, bytes }) => sum + (isHome(home, pack, hash) ? 0 : bytes), 0);
    deadBytes += total === 0 ? 0 : (bytesOfBundle(bundle) * dead) / total;
    marked ||= blobs.some(({ hash }) => store.index.isMarked(pack, hash));
  }
  return [{ pack, bundles, bytes: stats.size, deadBytes, marked }];
}

/** Copies what is needed of the packs into new ones; how many bytes that made. */
async function writeAnew(store: AnyStore, states: readonly PackState[], home: Home): Promise<number> {
  let written = 0;
  for (const { pack, bundles } of states) for (const bundle of bundles) written += await copyNeeded(store, pack, bundle, home);
  await store.writer.flush();
  return written;
}

async function copyNeeded(store: AnyStore, pack: string, bundle: PackedBundle, home: Home): Promise<number> {
  const { header } = bundle;
  // Needed and in no pack: that must stay known when the damaged copy goes.
  for (const { hash } of header.blobs) if (home.live.get(hash) === 0) await store.index.mark(undefined, hash);
  const needed = new Set(header.blobs.map(({ hash }) => hash).filter((hash) => isHome(home, pack, hash)));
  if (needed.size === 0) return 0;
  const bytes = await store.index.read(pack, bundle);
  if (bytes === undefined) throw new Error(`pack ${pack} was removed while it was written anew`);
  const sound = blobsOf(header, bytes.subarray(headerBytesOf(header.blobs.length))).filter(
    (blob): blob is Blob => blob !== undefined && needed.delete(blob.hash),
  );
  for (const hash of needed) await store.index.mark(undefined, hash);
  if (sound.length === 0) return 0;
  const copy = encodeBundle(sound);
  await store.writer.append(copy);
  return copy.length;
}

interface Removal {
  anew: readonly PackState[];
  before: ReadonlySet<string>;
  live: HashTable;
  written: number;
}

/** What forgot a version may have been killed before its sync: a power cut must not bring back what has lost its blobs. */
async function syncVersions(store: AnyStore): Promise<void> {
  const folder = join(store.directory, 'versions');
  for (const name of await store.disk.readdir(folder)) await sync(join(folder, name), store.disk);
}

async function removePacks(store: AnyStore, { anew, before, live, written }: Removal): Promise<Swept> {
  const folder = join(store.directory, 'packs');
  return store.mutex.run(async () => {
    await store.index.refresh();
    const made = (await readableVersions(store)).filter((version) => !before.has(idOf(version)));
    const doomed = new Map(anew.map((state) => [state.pack, state]));
    // What a new version needs and was not copied stays where it is.
    const spare = (hash: string): void => {
      live.set(hash, 0);
      doomed.delete(store.index.packOf(hash) ?? '');
    };
    if (!(await eachLive(store, made, spare))) return { packs: 0, bytes: 0 };
    if (doomed.size > 0) await syncVersions(store);
    for (const pack of doomed.keys())
      for (const kind of ['index', 'pack']) await store.disk.rm(join(folder, `${pack}.${kind}`), { force: true });
    // A damaged copy must not come back when its mark is gone.
    await sync(folder, store.disk);
    await store.index.refresh();
    await store.index.sweepMarks((hash) => live.has(hash));
    const bytes = [...doomed.values()].reduce((sum, state) => sum + state.bytes, -written);
    return { packs: doomed.size, bytes };
  });
}
