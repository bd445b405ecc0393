/**
 * What keeps a store sound and small: scrubbing, which reads every stored byte again and compares it with its checksum, and the
 * removal of what no version needs. Any process may do either; removal is for one at a time.
 */
import { basename, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { release } from '@lab/process/release';
import {
  closing,
  isDone,
  readAt,
  readThrough,
  replaceRecord,
  sync,
  unlessGone,
  unlessTrouble,
  unseal,
  writeAll,
} from './durable.ts';
import { blobsOf, encodeBundle, headerBytesOf, type Blob } from './bundle.ts';
import type { DiskFile } from './disk.ts';
import { HashTable } from './hash-table.ts';
import { readBundle, type PackedBundle } from './pack-index.ts';
import { housekeepingLock, isLost, isRecordName, type Store, type Version } from './store.ts';

/** Whatever its versions are. */
type AnyStore = Store<Version>;

/** One place that is not as it was written. */
export interface Finding {
  what: 'content' | 'header' | 'index' | 'record' | 'missing';
  /** File in the store, with the offset in a pack. */
  place: string;
  /** It was put right, or all of it is sound elsewhere; `content` and `missing` need somebody who keeps the blob again. */
  repaired: boolean;
  /** What is missing is needed by this version, and by so many others. */
  neededBy?: { name: string; version: number; others: number };
}

/** Of content, with what is wrong there. */
type Damage = Finding & { hashes?: readonly string[] };

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
  const result = { bytes: 0, findings: [] as Damage[] };
  const prefix = slice?.toString(16).padStart(2, '0') ?? '';
  for (const pack of [...store.index.packs]) {
    if (!pack.startsWith(prefix)) continue;
    const scrubbed = await scrubPack(store, pack);
    result.bytes += scrubbed.bytes;
    result.findings.push(...scrubbed.findings);
    progress(scrubbed.bytes);
  }
  await store.index.refresh();
  // Records are few and small: with the first slice.
  if (slice === undefined || slice === 0) result.findings.push(...(await scrubRecords(store)), ...(await findMissing(store)));
  // Only now it is known which other copies are sound.
  const findings = result.findings.map(({ hashes, ...finding }): Finding => {
    const isElsewhere = hashes?.every((hash) => store.index.has(hash)) === true;
    return { ...finding, repaired: finding.repaired || isElsewhere };
  });
  return { ...result, findings };
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

async function scrubPack(store: AnyStore, pack: string): Promise<{ bytes: number; findings: Damage[] }> {
  const folder = join(store.directory, 'packs');
  const findings: Damage[] = [];
  const bundles = await soundIndex(store, pack, findings);
  let bytes = 0;
  const file = await unlessGone(unlessTrouble(store.disk.open(join(folder, `${pack}.pack`), 'r'), 'trouble' as const), undefined);
  // Removed meanwhile; what a version needed of it is found to be missing.
  if (file === undefined) return { bytes, findings: [] };
  await using opened = file === 'trouble' ? undefined : closing(file);
  for (const bundle of bundles) {
    findings.push(...(await scrubBundle(store, pack, opened, bundle)));
    bytes += bundle.bytes;
  }
  return { bytes, findings };
}

/** What is in a pack; its index is made anew where it is damaged, now or when this process read it first. */
async function soundIndex(store: AnyStore, pack: string, findings: Finding[]): Promise<PackedBundle[]> {
  const bundles = await store.index.bundlesOf(pack);
  const repaired = store.index.damagedIndexes.get(pack);
  if (repaired !== undefined) findings.push({ what: 'index', place: `packs/${pack}.index`, repaired });
  store.index.damagedIndexes.delete(pack);
  return bundles;
}

async function scrubBundle(store: AnyStore, pack: string, file: DiskFile | undefined, bundle: PackedBundle): Promise<Damage[]> {
  const { header, headerBytes: expected, offset } = bundle;
  const place = `packs/${pack}.pack:${offset}`;
  const bytes = file === undefined ? Buffer.alloc(0) : await readBundle(file, bundle);
  const payload = bytes.subarray(expected.length);
  const findings: Finding[] = [];
  // A pack that is cut off is not made longer again.
  if (bytes.length >= expected.length && !bytes.subarray(0, expected.length).equals(expected)) {
    const repaired = await unlessTrouble(writeHeader(store, pack, expected, offset), false);
    findings.push({ what: 'header', place, repaired });
  }
  if (payload.length === header.payloadBytes && crc32(payload) === header.payloadCrc) {
    const blobs = blobsOf(header, payload);
    if (!blobs.includes(undefined)) {
      for (const { hash } of header.blobs) await store.index.unmark(pack, hash);
      release(bytes);
      release(blobs[0]!.bytes);
      return findings;
    }
  }
  const sound = blobsOf(header, payload);
  const hashes = header.blobs.map(({ hash }) => hash).filter((_, index) => sound[index] === undefined);
  for (const hash of hashes) await store.index.mark(pack, hash);
  // Where the flip changed nothing that is read, what is read is stored anew.
  if (hashes.length === 0)
    return [...findings, { what: 'content', place, repaired: await isDone(rewrite(store, pack, sound as Blob[])) }];
  return [...findings, { what: 'content', place, repaired: false, hashes }];
}

/** Whether it can be read then: a block that stays bad takes what is written, and does not give it back. */
async function writeHeader(store: AnyStore, pack: string, header: Buffer, offset: number): Promise<boolean> {
  await using file = closing(await store.disk.open(join(store.directory, 'packs', `${pack}.pack`), 'r+'));
  await writeAll(file, header, offset);
  await file.sync();
  return (await readAt(file, offset, header.length, () => {})).equals(header);
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
    const names = await unlessTrouble(unlessGone(store.disk.readdir(join(store.directory, folder)), []), undefined);
    if (names === undefined) findings.push({ what: 'record', place: folder, repaired: false });
    for (const name of names ?? []) {
      if (!(folder === '.' ? isRecordName(name) : /^(name|\d+)$/.test(name))) continue;
      const bytes = await readThrough(join(store.directory, folder, name), store.disk);
      const record = bytes === undefined ? { value: undefined, damaged: false } : unseal(bytes);
      if (record?.damaged === false) continue;
      const repaired = await unlessTrouble(repairRecord(store, folder, name), false);
      // For all who have it in memory.
      if (!repaired && /^\d+$/.test(name)) await store.index.markUnknown(`${basename(folder)}-${name}`);
      findings.push({ what: 'record', place: join(folder, name), repaired });
    }
  }
  return findings;
}

/** Whether it is whole now, or gone. Under the lock, for others write there too. */
function repairRecord(store: AnyStore, folder: string, name: string): Promise<boolean> {
  return store.mutex.run(async () => {
    const path = join(store.directory, folder, name);
    const bytes = await readThrough(path, store.disk);
    const record = bytes && unseal(bytes);
    if (bytes === undefined || record?.damaged === false) return true;
    const value = record === undefined && folder !== '.' ? await store.recall(basename(folder), name) : record?.value;
    if (value !== undefined) await replaceRecord(path, value, store.disk);
    return value !== undefined;
  });
}

/** Blobs that a version needs and that no pack has, sound or damaged. */
async function findMissing(store: AnyStore): Promise<Finding[]> {
  const found = new Map<string, Required<Finding>>();
  const damaged = store.index.damagedHashes();
  for (const version of await store.versions())
    for (const hash of isLost(version) ? [] : await store.missingOf(version)) {
      const known = found.get(hash);
      if (known !== undefined) known.neededBy.others++;
      else if (!damaged.has(hash)) {
        const neededBy = { name: version.name, version: version.version, others: 0 };
        found.set(hash, { what: 'missing', place: `blob ${hash}`, repaired: false, neededBy });
      }
    }
  return [...found.values()];
}

export interface Swept {
  packs: number;
  /** By which the store shrank. */
  bytes: number;
  /** Versions of which nobody knows what they need, for their record or manifest is damaged: nothing goes that may be theirs. */
  unknown: string[];
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

const nothing: Swept = { packs: 0, bytes: 0, unknown: [] };

/**
 * Removes packs that no version needs, and writes those anew that are mostly so or are many and small. What is new is durable
 * before what is old goes, and that goes under the lock, after a look at the versions that were made meanwhile. Does nothing
 * while another process is at it.
 */
export async function sweep(store: AnyStore, { nowMs, graceMs }: SweepOptions): Promise<Swept> {
  const alone = await store.disk.tryLock(join(store.directory, housekeepingLock));
  if (alone === undefined) return nothing;
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
  /** Something in it is needed. */
  isNeeded: boolean;
  marked: boolean;
}

async function sweepAlone(store: AnyStore, nowMs: number, graceMs: number): Promise<Swept> {
  const oldestTransferMs = await store.writer.oldestTransferMs();
  await store.index.refresh();
  const seen = await look(store, []);
  // What came after it was first seen that nobody knows is not needed there.
  const sinceMs = Math.max(-Infinity, ...(await Promise.all([...seen.unknown.keys()].map((id) => store.index.markUnknown(id)))));
  // What a clock that was ahead has written is not new for as long as that clock says.
  const isSpared = (mtimeMs: number): boolean =>
    Math.abs(nowMs - mtimeMs) < graceMs || mtimeMs >= oldestTransferMs - timestampMs || mtimeMs <= sinceMs + timestampMs;
  // As it is at this moment: beside this, other packs come, and marks.
  const { live } = seen;
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
  // First what makes room without taking any.
  const [dead, mixed] = [anew.filter(({ isNeeded }) => !isNeeded), anew.filter(({ isNeeded }) => isNeeded)];
  const freed = dead.length === 0 ? nothing : await removePacks(store, { ...seen, doomed: dead, written: 0 });
  const { doomed, written } = await writeAnew(store, mixed, home);
  const removed = await removePacks(store, { ...seen, doomed, written });
  return { packs: freed.packs + removed.packs, bytes: freed.bytes + removed.bytes, unknown: [...seen.unknown.values()] };
}

/** The coarsest clock that a file system keeps times by: FAT's. */
const timestampMs = 2_000;

/** What was found of versions. */
interface Seen {
  ids: string[];
  live: HashTable;
  /** By id, in words: nobody knows what they need. */
  unknown: Map<string, string>;
}

async function look(store: AnyStore, except: readonly string[]): Promise<Seen> {
  const seen: Seen = { ids: [], live: new HashTable(), unknown: new Map() };
  for await (const { id, version, isKnown } of store.needs((hash) => seen.live.set(hash, 0), except)) {
    seen.ids.push(id);
    if (!isKnown) seen.unknown.set(id, `version ${version.version} of ${version.name}`);
  }
  return seen;
}

/** Of what versions need, the pack that has it, by its number among those that were there; 0 where none has. */
interface Home {
  numberOf: ReadonlyMap<string, number>;
  live: HashTable;
}

const isHome = ({ numberOf, live }: Home, pack: string, hash: string): boolean => live.get(hash) === numberOf.get(pack);

/** The state of a pack, if it may be touched. */
async function stateOf(store: AnyStore, pack: string, home: Home, isSpared: (mtimeMs: number) => boolean): Promise<PackState[]> {
  const stats = await unlessTrouble(
    unlessGone(store.disk.stat(join(store.directory, 'packs', `${pack}.pack`)), undefined),
    undefined,
  );
  if (stats === undefined || isSpared(stats.mtimeMs)) return [];
  const bundles = await store.index.bundlesOf(pack);
  const state: PackState = { pack, bundles, bytes: stats.size, deadBytes: 0, isNeeded: false, marked: false };
  for (const bundle of bundles) {
    const { blobs } = bundle.header;
    // It may be the only copy, and may be read another time.
    if (blobs.some(({ hash }) => home.live.get(hash) === 0)) return [];
    const total = blobs.reduce((sum, { bytes }) => sum + bytes, 0);
    const dead = blobs.reduce((sum, { hash, bytes }) => sum + (isHome(home, pack, hash) ? 0 : bytes), 0);
    state.deadBytes += total === 0 ? 0 : (bundle.bytes * dead) / total;
    state.isNeeded ||= blobs.some(({ hash }) => isHome(home, pack, hash));
    state.marked ||= blobs.some(({ hash }) => store.index.isMarked(pack, hash));
  }
  return [state];
}

/** Copies what is needed of the packs into new ones; which can go then, and how many bytes that made. */
async function writeAnew(
  store: AnyStore,
  states: readonly PackState[],
  home: Home,
): Promise<{ doomed: PackState[]; written: number }> {
  const doomed: PackState[] = [];
  let written = 0;
  const write = async (): Promise<void> => {
    for (const state of states) {
      let isWhole = true;
      for (const bundle of state.bundles) {
        const copied = await copyNeeded(store, state.pack, bundle, home);
        written += copied.bytes;
        isWhole &&= copied.isWhole;
      }
      if (isWhole) doomed.push(state);
    }
    await store.writer.flush();
  };
  // On a full disk all stays.
  return (await isDone(write())) ? { doomed, written } : { doomed: [], written: 0 };
}

/** Where something of it is damaged, that is marked, and stays. */
async function copyNeeded(
  store: AnyStore,
  pack: string,
  bundle: PackedBundle,
  home: Home,
): Promise<{ bytes: number; isWhole: boolean }> {
  const { header } = bundle;
  const needed = new Set(header.blobs.map(({ hash }) => hash).filter((hash) => isHome(home, pack, hash)));
  if (needed.size === 0) return { bytes: 0, isWhole: true };
  const file = await store.index.open(pack);
  const bytes = file === undefined ? Buffer.alloc(0) : await store.index.read(file, bundle).finally(() => file.close());
  const sound = blobsOf(header, bytes.subarray(headerBytesOf(header.blobs.length))).filter(
    (blob): blob is Blob => blob !== undefined && needed.delete(blob.hash),
  );
  for (const hash of needed) await store.index.mark(pack, hash);
  if (sound.length === 0) return { bytes: 0, isWhole: false };
  const copy = encodeBundle(sound);
  await store.writer.append(copy);
  return { bytes: copy.length, isWhole: needed.size === 0 };
}

interface Removal extends Seen {
  doomed: readonly PackState[];
  written: number;
}

/** What forgot a version may have been killed before its sync: a power cut must not bring back what has lost its blobs. */
async function syncVersions(store: AnyStore): Promise<void> {
  const folder = join(store.directory, 'versions');
  for (const name of await store.disk.readdir(folder)) await sync(join(folder, name), store.disk);
}

async function removePacks(store: AnyStore, { doomed, ids, unknown, written }: Removal): Promise<Omit<Swept, 'unknown'>> {
  const folder = join(store.directory, 'packs');
  return store.mutex.run(async () => {
    await store.index.refresh();
    const made = await look(store, ids);
    const left = new Map(doomed.map((state) => [state.pack, state]));
    // What a new version needs and was not copied stays where it is; so does all where nobody knows what that is.
    made.live.update((hash) => Number(left.delete(store.index.packOf(hash) ?? '')));
    if (made.unknown.size > 0) left.clear();
    if (left.size > 0) {
      await syncVersions(store);
      await store.index.noteSwept([...left.keys()]);
    }
    for (const pack of left.keys())
      for (const kind of ['index', 'pack']) await store.disk.rm(join(folder, `${pack}.${kind}`), { force: true });
    // A damaged copy must not come back when its mark is gone.
    await sync(folder, store.disk);
    await store.index.refresh();
    await store.index.sweepMarks(new Set([...unknown.keys(), ...made.unknown.keys()]));
    const bytes = [...left.values()].reduce((sum, state) => sum + state.bytes, -written);
    return { packs: left.size, bytes };
  });
}
