/**
 * What keeps a store sound and small: scrubbing, which reads every stored byte again and compares it with its checksum, and the removal of what no version
 * needs. Any process may do either; removal is for one at a time.
 */
import { open, readdir, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { blobsOf, encodeBundle, encodeHeader, headerBytesOf, type Blob } from '../bundle.ts';
import { hashesOf } from '../domain/manifest.ts';
import { readIfThere, replaceDurably, seal, syncFolder, unseal } from './durable.ts';
import { tryLock } from './lock.ts';
import { bytesOfBundle, readBundle, type PackedBundle } from './pack-index.ts';
import type { Store, Version } from './store.ts';

/** One place that is not as it was written. */
export interface Finding {
  what: 'content' | 'header' | 'index' | 'record' | 'missing';
  /** File in the store, with the offset in a pack. */
  place: string;
  /** It was put right from what is stored twice; `content` and `missing` need a node that still has it. */
  repaired: boolean;
}

export interface Scrubbed {
  bytes: number;
  findings: Finding[];
}

/** Slices of a cycle of scrubbing: packs by the first two digits of their names, which are random. */
export const sliceCount = 256;

/**
 * Reads again what is stored, all of it or one slice. Damage is marked, so that the next backup of a node that has the content brings it again. `progress`
 * hears of every pack.
 */
export async function scrub(
  store: Store,
  slice: number | undefined,
  progress: (bytes: number) => void = () => {},
): Promise<Scrubbed> {
  await store.index.refresh();
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
  if (slice === undefined || slice === 0) result.findings.push(...(await scrubRecords(store)), ...(await findMissing(store)));
  return result;
}

async function scrubPack(store: Store, pack: string): Promise<Scrubbed> {
  const folder = join(store.directory, 'packs');
  const findings: Finding[] = [];
  const bundles = await soundIndex(store, pack, findings);
  let file: FileHandle;
  try {
    file = await open(join(folder, `${pack}.pack`), 'r+');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    // Housekeeping in another process removes the index first.
    if ((await readIfThere(join(folder, `${pack}.index`))) === undefined) return { bytes: 0, findings: [] };
    for (const { header } of bundles) for (const { hash } of header.blobs) await store.index.mark(pack, hash);
    return { bytes: 0, findings: [...findings, { what: 'missing', place: `packs/${pack}.pack`, repaired: false }] };
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
async function soundIndex(store: Store, pack: string, findings: Finding[]): Promise<PackedBundle[]> {
  const bundles = await store.index.bundlesOf(pack);
  if (store.index.repairedIndexes.delete(pack)) findings.push({ what: 'index', place: `packs/${pack}.index`, repaired: true });
  return bundles;
}

async function scrubBundle(store: Store, pack: string, file: FileHandle, bundle: PackedBundle): Promise<Finding[]> {
  const { header, offset } = bundle;
  const place = `packs/${pack}.pack:${offset}`;
  const expected = encodeHeader(header);
  const bytes = await readBundle(file, bundle);
  const payload = bytes.subarray(expected.length);
  const findings: Finding[] = [];
  if (!bytes.subarray(0, expected.length).equals(expected)) {
    await file.write(expected, 0, expected.length, offset);
    await file.sync();
    findings.push({ what: 'header', place, repaired: true });
  }
  if (payload.length === header.payloadBytes && crc32(payload) === header.payloadCrc) {
    const blobs = blobsOf(header, payload);
    if (!blobs.includes(undefined)) return findings;
  }
  const sound = blobsOf(header, payload);
  for (const [index, blob] of sound.entries()) if (blob === undefined) await store.index.mark(pack, header.blobs[index]!.hash);
  // Where the flip changed nothing that is read, what is read is stored anew.
  const repaired = !sound.includes(undefined);
  if (repaired) await rewrite(store, pack, sound as Blob[]);
  return [...findings, { what: 'content', place, repaired }];
}

async function rewrite(store: Store, pack: string, blobs: readonly Blob[]): Promise<void> {
  for (const { hash } of blobs) await store.index.mark(pack, hash);
  await store.writer.append(encodeBundle(blobs));
  await store.writer.flush();
}

/** Records of versions, names and the registry: each is in its file twice. */
async function scrubRecords(store: Store): Promise<Finding[]> {
  const findings: Finding[] = [];
  const folders = (await readdir(join(store.directory, 'versions'))).map((name) => join('versions', name));
  for (const folder of ['.', ...folders]) {
    for (const name of await readdir(join(store.directory, folder)).catch(() => [])) {
      if (!(folder === '.' ? /^(format|registry)$/ : /^(name|\d+)$/).test(name)) continue;
      const bytes = await readIfThere(join(store.directory, folder, name));
      const record = bytes === undefined ? { value: undefined, damaged: false } : unseal(bytes.toString());
      if (record?.damaged === false) continue;
      if (record !== undefined) await repairRecord(store, folder, name);
      findings.push({ what: 'record', place: join(folder, name), repaired: record !== undefined });
    }
  }
  return findings;
}

/** Under the lock, for the registry and retention write there too. */
async function repairRecord(store: Store, folder: string, name: string): Promise<void> {
  await store.mutex.run(async () => {
    const path = join(store.directory, folder);
    const record = unseal((await readIfThere(join(path, name)))?.toString() ?? '');
    if (record?.damaged === true) await replaceDurably(path, name, seal(record.value));
  });
}

/** Blobs that a version needs and that no pack has a sound copy of, unless it is marked already. */
async function findMissing(store: Store): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const version of await store.versions()) {
    if ('lost' in version) continue;
    for (const hash of await store.missingOf(version)) {
      if (store.index.isKnownDamaged(hash)) continue;
      await store.index.mark(undefined, hash);
      findings.push({
        what: 'missing',
        place: `blob ${hash}, of ${version.node} ${version.path} version ${version.version}`,
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
  /** Packs that are younger stay: a backup that was interrupted finds there what it had sent. */
  graceMs: number;
}

/** A pack is written anew when at least this share of it is needed by nothing, or its damaged copies keep it from being trusted. */
const deadShareMin = 0.25;
/** Small packs are put together when there are so many; each backup of a little change makes one. */
const smallPackBytes = 4 * 1024 * 1024;
const smallPacksMin = 16;

/**
 * Removes packs that no version needs, and writes those anew that are mostly so or are many and small. What is new is durable before what is old
 * goes, and that goes under the lock, after a look at the versions that were made meanwhile. Does nothing while another process is at it.
 */
export async function sweep(store: Store, { nowMs, graceMs }: SweepOptions): Promise<Swept> {
  const alone = tryLock(join(store.directory, 'housekeeping.lock'));
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

async function sweepAlone(store: Store, nowMs: number, graceMs: number): Promise<Swept> {
  const sparedFromMs = Math.min(nowMs - graceMs, await store.writer.oldestTransferMs());
  await store.index.refresh();
  const before = new Set((await readableVersions(store)).map(idOf));
  const live = await liveHashes(store, await readableVersions(store));
  if (live === undefined) return { packs: 0, bytes: 0 };
  const states: PackState[] = [];
  for (const pack of [...store.index.packs]) {
    const state = await stateOf(store, pack, live, sparedFromMs);
    if (state !== undefined) states.push(state);
  }
  const small = states.filter(({ bytes }) => bytes < smallPackBytes);
  const anew = states.filter(
    (state) =>
      state.deadBytes >= deadShareMin * state.bytes || state.marked || (small.length >= smallPacksMin && small.includes(state)),
  );
  const written = await writeAnew(store, anew, live);
  return removePacks(store, anew, before, written);
}

const idOf = ({ node, path, version }: Version): string => JSON.stringify([node, path, version]);

async function readableVersions(store: Store): Promise<Version[]> {
  return (await store.versions()).filter((version): version is Version => !('lost' in version));
}

/** All that versions need; `undefined` where one's manifest cannot be read, for then nobody knows. */
async function liveHashes(store: Store, versions: readonly Version[]): Promise<Set<string> | undefined> {
  const live = new Set<string>();
  for (const version of versions) {
    for (const hash of version.manifest) live.add(hash);
    if (version.manifest.some((hash) => !store.index.has(hash))) return undefined;
    for (const hash of hashesOf(await store.entriesOf(version))) live.add(hash);
  }
  return live;
}

async function stateOf(
  store: Store,
  pack: string,
  live: ReadonlySet<string>,
  sparedFromMs: number,
): Promise<PackState | undefined> {
  const bundles = await store.index.bundlesOf(pack);
  const { mtimeMs = Infinity, size = 0 } = await stat(join(store.directory, 'packs', `${pack}.pack`)).catch(() => ({}) as never);
  const isLive = (hash: string): boolean => live.has(hash) && store.index.packOf(hash) === pack;
  let deadBytes = 0;
  let marked = false;
  for (const bundle of bundles) {
    const { blobs } = bundle.header;
    const total = blobs.reduce((sum, { bytes }) => sum + bytes, 0);
    const dead = blobs.reduce((sum, { hash, bytes }) => sum + (isLive(hash) ? 0 : bytes), 0);
    deadBytes += total === 0 ? 0 : (bytesOfBundle(bundle) * dead) / total;
    marked ||= blobs.some(({ hash }) => store.index.isMarked(pack, hash));
  }
  return mtimeMs > sparedFromMs ? undefined : { pack, bundles, bytes: size, deadBytes, marked };
}

/** Copies what is needed of the packs into new ones; how many bytes that made. */
async function writeAnew(store: Store, states: readonly PackState[], live: ReadonlySet<string>): Promise<number> {
  let written = 0;
  for (const { pack, bundles } of states) {
    for (const bundle of bundles) {
      const { header } = bundle;
      for (const { hash } of header.blobs) if (live.has(hash) && !store.index.has(hash)) await store.index.mark(undefined, hash);
      const needed = header.blobs.filter(({ hash }) => live.has(hash) && store.index.packOf(hash) === pack);
      if (needed.length === 0) continue;
      const bytes = await store.index.read(pack, bundle);
      const blobs = blobsOf(header, bytes.subarray(headerBytesOf(header.blobs.length)));
      const sound = blobs.filter((blob): blob is Blob => blob !== undefined && needed.some(({ hash }) => hash === blob.hash));
      if (sound.length < needed.length) await markUnsound(store, pack, needed, sound);
      if (sound.length === 0) continue;
      const copy = sound.length === header.blobs.length ? bytes : encodeBundle(sound);
      await store.writer.append(copy);
      written += copy.length;
    }
  }
  await store.writer.flush();
  return written;
}

async function markUnsound(
  store: Store,
  pack: string,
  needed: readonly { hash: string }[],
  sound: readonly Blob[],
): Promise<void> {
  const hashes = new Set(sound.map(({ hash }) => hash));
  for (const { hash } of needed) if (!hashes.has(hash)) await store.index.mark(undefined, hash);
}

async function removePacks(
  store: Store,
  anew: readonly PackState[],
  before: ReadonlySet<string>,
  written: number,
): Promise<Swept> {
  const folder = join(store.directory, 'packs');
  return store.mutex.run(async () => {
    const made = (await readableVersions(store)).filter((version) => !before.has(idOf(version)));
    const live = await liveHashes(store, made);
    let [packs, bytes] = [0, -written];
    for (const state of anew) {
      // What a new version needs of it stays where it is; it was not copied.
      const kept =
        live === undefined ||
        state.bundles.some(({ header }) =>
          header.blobs.some(({ hash }) => live.has(hash) && store.index.packOf(hash) === state.pack),
        );
      if (kept) continue;
      await rm(join(folder, `${state.pack}.index`), { force: true });
      await rm(join(folder, `${state.pack}.pack`), { force: true });
      packs++;
      bytes += state.bytes;
    }
    await syncFolder(folder);
    await store.index.refresh();
    await store.index.sweepMarks();
    return { packs, bytes };
  });
}
