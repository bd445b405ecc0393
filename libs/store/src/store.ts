/**
 * A content-addressed store in a folder, on one machine's disk or on a file system that several share. Blobs, named by their
 * SHA-256, are kept once; a version names those that it needs. Any number of processes work on it at once. What stands where,
 * and what a crash leaves: FORMAT.md.
 *
 * A version exists once its file has its name, and that is given to it after every blob it needs is durable. Packs are added
 * without a lock, for their names are their own; what is decided for all is decided under the lock: the number of a version,
 * its removal, and the removal of packs. Whoever makes a version looks again, under the lock, whether all its blobs are there.
 */
import { basename, join } from 'node:path';
import { systemClock, type Clock } from '@lab/process/time';
import { BlobIndex, type Place } from './blob-index.ts';
import { release } from '@lab/process/release';
import { blobsOf, decodeBundle, encodeBundle, hashOf, type Blob } from './bundle.ts';
import { readOnly, systemDisk, watched, type Disk, type DiskFile } from './disk.ts';
import {
  isDiskTrouble,
  isDone,
  makeFolder,
  readThrough,
  replaceRecord,
  seal,
  sync,
  unlessGone,
  unlessTrouble,
  unseal,
  writeSynced,
} from './durable.ts';
import { ManifestWriter } from './manifest-writer.ts';
import { Mutex } from './lock.ts';
import type { PackedBundle } from './pack-index.ts';
import { PackWriter, type OnSealed } from './pack-writer.ts';

/** What the store must know of a version; its user adds what else there is to say, as plain JSON. */
export interface Version {
  /** What it is a version of; its numbers count from 1 for each name. */
  name: string;
  /** Hashes of the blobs that are its manifest, in order. */
  manifest: readonly string[];
}

/** A version as it is in the store. It never changes. */
export type Stored<V extends Version> = V & { version: number };

/** Both copies of a version's record are damaged, or cannot be read. */
export interface LostVersion {
  /** `?` where that is damaged, too. */
  name: string;
  /** 0 where the disk cannot tell which there are. */
  version: number;
  lost: true;
}

export const isLost = (version: object): version is LostVersion => 'lost' in version;

/** A folder is none of these stores, or nothing tells that it is. */
export class NoStoreError extends Error {
  override readonly name = 'NoStoreError';
}

/** Another version of the same name was quicker: it is the newest now. */
export class SupersededError extends Error {
  override readonly name = 'SupersededError';
}

/** Something is needed and not there, or not as it should be. */
export class MissingBlobsError extends Error {
  override readonly name = 'MissingBlobsError';
  readonly hashes: readonly string[];
  constructor(what: string, hashes: readonly string[], options?: ErrorOptions) {
    super(what, options);
    this.hashes = hashes;
  }
}

export interface StoreOptions {
  /** What its versions are of, in a few words. They stand in the file `format`: a store of another kind is refused. */
  kind: string;
  /** The hashes that a manifest names, which comes in pieces: no sweep takes them. Throws where it is no manifest. */
  hashesIn: (manifest: AsyncIterable<Uint8Array>) => AsyncIterable<string>;
  /** Default `systemDisk`. */
  disk?: Disk;
  /**
   * Nothing is written, not even a lock: what was found damaged is known to this process only. A store is known by its folders
   * where its file `format` is gone or damaged. Default false.
   */
  readOnly?: boolean;
  /** Hears, in words, of what cannot be read, and of each copy of a blob that is found damaged. Default: nobody does. */
  onDamage?: (what: string) => void;
  /** For the wait for a lock. Default: the host's. */
  clock?: Clock;
  /** UUIDs, for the names of packs and folders: never the same twice, over all processes. Default: random ones. */
  newId?: () => string;
}

/** @internal The lock of sweeps. */
export const housekeepingLock = 'housekeeping.lock';
const formatNumber = 1;
const folders = ['packs', 'versions', 'incoming', 'damaged'];

/** Whether a file in the store's folder is a record: `format`, or one of its user's. */
export const isRecordName = (name: string): boolean => /^[a-z]+$/.test(name) && name !== 'lock' && !folders.includes(name);

/** @internal */
export interface Needs {
  id: string;
  version: Stored<Version> | LostVersion;
  /** Not where its record or its manifest is damaged. */
  isKnown: boolean;
}

/** A bundle as it stands in its pack, unchecked. */
export interface StoredBundle {
  pack: string;
  bundle: PackedBundle;
  bytes: Buffer;
}

/**
 * The file `name` in the folder of a name's versions, with the last number given to a version that was forgotten. Where it is
 * damaged nobody knows that: then so many numbers are left out, more than anybody makes versions.
 */
interface Name {
  name: string;
  last: number;
}
const numbersLeftOut = 1_000_000;

export class Store<V extends Version> {
  readonly directory: string;
  /** @internal These are for the rest of this library. */
  readonly disk: Disk;
  /** @internal */
  readonly clock: Clock;
  /** @internal */
  readonly index: BlobIndex;
  /** @internal */
  readonly writer: PackWriter;
  /** @internal */
  readonly mutex: Mutex;
  readonly #options: StoreOptions;
  readonly #versions: string;
  /** Records by their files, and what a file looked like then: versions never change, but what is on disk is what counts. */
  readonly #known = new Map<string, { record: Stored<V>; look: string }>();
  /** Versions that were found whole, and the index's `changes` then. */
  readonly #whole = new Map<string, number>();

  private constructor(directory: string, options: StoreOptions) {
    this.directory = directory;
    const { disk = systemDisk, onDamage = () => {} } = options;
    this.disk = watched(options.readOnly === true ? readOnly(disk) : disk, onDamage);
    this.clock = options.clock ?? systemClock;
    this.#options = options;
    this.#versions = join(directory, 'versions');
    this.index = new BlobIndex(directory, this.disk, onDamage);
    const onSealed: OnSealed = (pack, bundles) => this.index.add(pack, bundles);
    this.writer = new PackWriter(directory, this.disk, onSealed, options.newId);
    this.mutex = new Mutex(this.disk, join(directory, 'lock'), this.clock);
  }

  /**
   * Opens a store, or makes one in an empty or missing folder. A folder of something else, or a store of another kind, is an
   * `NoStoreError`. One that is there is opened to be read whatever of it can be written: on a disk that is full, or read only.
   */
  static async open<V extends Version>(directory: string, options: StoreOptions): Promise<Store<V>> {
    const store = new Store<V>(directory, options);
    await store.#checkFormat();
    await isDone(store.#makeFolders());
    await store.takeOver();
    return store;
  }

  /** What was kept and not flushed is flushed. */
  async close(): Promise<void> {
    await this.writer.stop();
  }

  /** Takes in what other processes have added and removed until now. */
  refresh(): Promise<void> {
    return this.index.refresh();
  }

  /**
   * As `refresh`, where the folders look as if there were something to take in. That costs nothing that grows with the store, and
   * may miss what others did within a tick of the disk's clock: for what is only shown, and looked at again.
   */
  async refreshShown(): Promise<void> {
    if (await this.index.looksChanged()) await this.index.refresh();
  }

  /** As `refresh`; and what processes that died had kept counts from now on. */
  async takeOver(): Promise<void> {
    await this.writer.takeOver();
    await this.index.refresh();
  }

  /**
   * Says that blobs are coming that no version needs yet: no sweep, in any process, takes what is kept from now on, until the
   * function that this resolves with is called, or the process ends.
   */
  beginTransfer(): Promise<() => Promise<void>> {
    return this.writer.beginTransfer();
  }

  /**
   * Says that a version is being read: whoever removes it, no sweep in any process takes what it needs, until the function that
   * this resolves with is called, or the process ends. A version that is gone is a `MissingBlobsError`. On a disk that takes
   * nothing it is read without.
   */
  async beginReading(version: Stored<Version>): Promise<() => Promise<void>> {
    const file = join(this.#versions, folderName(version.name), String(version.version));
    const end = await unlessGone(
      unlessTrouble(this.writer.beginReading(file, idOf(version)), async () => {}),
      undefined,
    );
    // One that went before that may have been swept already.
    if (end !== undefined && (await this.#isThere(file))) return end;
    await end?.();
    throw new MissingBlobsError(`version ${version.version} of ${version.name} was removed meanwhile`, []);
  }

  /** Whether a blob has still to be kept: no pack has a sound copy of it, nor one that is being written. */
  lacks(hash: string): boolean {
    return this.sizeOf(hash) === undefined;
  }

  /**
   * Takes a bundle: every blob is checked against its hash, what is there already is left out. Resolves, when the kernel has
   * it, with the bytes that the store grew by: it then survives the end of this process, and after `flush` that of the machine.
   * A bundle that is not what it says is a `MalformedBundleError`.
   */
  async keep(bundle: Buffer): Promise<number> {
    const { header, blobs } = decodeBundle(bundle);
    const lacking = new Map(blobs.filter(({ hash }) => this.lacks(hash)).map((blob) => [blob.hash, blob]));
    if (lacking.size === 0) return 0;
    const isWhole = lacking.size === blobs.length;
    const kept = isWhole ? bundle : encodeBundle([...lacking.values()]);
    if (header.compressed) release(blobs[0]!.bytes);
    await this.writer.append(kept, isWhole ? header : undefined);
    return kept.length;
  }

  /**
   * Resolves when everything that was kept is durable. Rejects where something of it could not be written: the store lacks that
   * again.
   */
  flush(): Promise<void> {
    return this.writer.flush();
  }

  /** Keeps a manifest as it comes. */
  writeManifest(): ManifestWriter {
    return new ManifestWriter(this);
  }

  /**
   * Makes the version that follows `base`, once all that was kept is durable. Rejects with `SupersededError` when the newest
   * version is another by now, and with `MissingBlobsError` when one of `hashes`, which are those that its manifest names, went
   * away meanwhile. Resolves with its number.
   */
  async commit(record: V, { base, hashes }: { base: number; hashes: Iterable<string> }): Promise<number> {
    await this.writer.flush();
    return this.mutex.run(async () => {
      const folder = await this.#folderOf(record.name);
      const newest = await this.#lastOf(folder);
      if (newest !== base) throw new SupersededError(`version ${newest} was made meanwhile`);
      await this.index.refresh();
      // What others have just made may not be durable yet, and the version may need it.
      await sync(join(this.directory, 'packs'), this.disk);
      const missing = [...this.#missing(hashes), ...this.#missing(record.manifest)];
      if (missing.length > 0)
        throw new MissingBlobsError(`${missing.length} blobs that the version relies on were removed meanwhile`, missing);
      const version = base + 1;
      const aside = join(folder, '.new');
      // One that a crash left may be a version, by its other name.
      await this.disk.rm(aside, { force: true });
      await writeSynced(aside, seal({ ...record, version }), this.disk);
      // Unlike a rename, a link never replaces what is there.
      await this.disk.link(aside, join(folder, String(version)));
      await sync(folder, this.disk);
      // From here on nobody who lists it has to see to that.
      await this.disk.rm(aside);
      return version;
    });
  }

  /**
   * Removes those versions of a name whose numbers `which` gives, without it all; how many went. Their blobs go when a sweep finds
   * that nothing needs them. Numbers are not given again: whoever still holds an old one would take the new version for it.
   */
  async forget(name: string, which?: (versions: readonly (Stored<V> | LostVersion)[]) => readonly number[]): Promise<number> {
    const folder = join(this.#versions, folderName(name));
    return this.mutex.run(async () => {
      const numbers = await this.#numbersIn(folder);
      const chosen = new Set(which?.(await this.versions(name)) ?? numbers);
      const doomed = numbers.filter((number) => chosen.has(number));
      const isAll = which === undefined || (doomed.length > 0 && doomed.length === numbers.length);
      if (isAll || doomed.includes(numbers.at(-1)!)) {
        // With all of them, one more than was given: a version that is being made has lost its base.
        const noted = this.#skip(name, isAll ? 1 : 0);
        // Where that cannot be written, no first version is made either.
        await (numbers.length > 0 ? noted : unlessTrouble(noted, undefined));
      }
      for (const number of doomed) {
        await this.disk.rm(join(folder, String(number)));
        this.#known.delete(join(folder, String(number)));
      }
      if (doomed.length > 0) await sync(folder, this.disk);
      return doomed.length;
    });
  }

  /** So many numbers more are taken for given. */
  async #skip(name: string, numbers: number): Promise<void> {
    const folder = await this.#folderOf(name);
    const last = (await this.#lastOf(folder)) + numbers;
    await replaceRecord(join(folder, 'name'), { name, last } satisfies Name, this.disk);
  }

  /** The newest version, if its record can be read, and the last number that was given. */
  async newest(name: string): Promise<{ number: number; version: Stored<V> | undefined }> {
    const folder = join(this.#versions, folderName(name));
    const newest = (await this.#numbersIn(folder)).at(-1);
    const number = await this.#lastOf(folder);
    const record = newest === undefined ? undefined : await this.#recordOf(folder, name, newest);
    return { number, version: record === undefined || isLost(record) ? undefined : record };
  }

  /** All versions, or those of a name, the oldest first. */
  async versions(only?: string): Promise<(Stored<V> | LostVersion)[]> {
    const found: (Stored<V> | LostVersion)[] = [];
    for await (const each of this.#records(only)) found.push(each.record);
    return found;
  }

  /** Whether there is any version; none is looked at. */
  async hasVersions(): Promise<boolean> {
    for (const key of await this.disk.readdir(this.#versions))
      if ((await unlessTrouble(this.#numbersIn(join(this.#versions, key)), [0])).length > 0) return true;
    return false;
  }

  /** Records of versions, and what each is called in notes. Of a folder that cannot be read there is one, of number 0. */
  async *#records(only?: string): AsyncGenerator<{ id: string; record: Stored<V> | LostVersion }> {
    const keys = only === undefined ? await this.disk.readdir(this.#versions) : [folderName(only)];
    for (const key of keys.sort()) {
      const folder = join(this.#versions, key);
      const name = only ?? (await unlessTrouble(this.#nameOf(folder), { name: '?' })).name;
      for (const record of await this.#recordsOf(folder, name)) yield { id: `${key}-${record.version}`, record };
    }
  }

  /** As they were at one moment: where retention was quicker than this, others may have come. */
  async #recordsOf(folder: string, name: string, before: readonly number[] = []): Promise<(Stored<V> | LostVersion)[]> {
    const numbers = await unlessTrouble(this.#numbersIn(folder), [0]);
    const records: (Stored<V> | LostVersion)[] = [];
    for (const number of numbers) {
      const record = await this.#recordOf(folder, name, number);
      if (record !== undefined) records.push(record);
    }
    const isSo = records.length === numbers.length || numbers.join() === before.join();
    return isSo ? records : this.#recordsOf(folder, name, numbers);
  }

  /** The manifest of a version, in pieces; each is there until the next. Throws `MissingBlobsError` where it is damaged. */
  async *manifestOf({ manifest }: Version): AsyncGenerator<Uint8Array> {
    const read = this.reader();
    for (const hash of manifest) yield await read(hash);
  }

  /**
   * All that a version needs: what its manifest names, and its manifest. Throws `MissingBlobsError` where that is damaged.
   */
  async *hashesOf(version: Version): AsyncGenerator<string> {
    yield* version.manifest;
    yield* this.#options.hashesIn(this.manifestOf(version));
  }

  /**
   * Hashes that a version needs and no pack has; those of its manifest alone where that is damaged. Of a version that was whole
   * it costs nothing until something is lost again.
   */
  async missingOf(version: Stored<Version>): Promise<string[]> {
    const missing = await this.#missingOf(version);
    if (missing.length === 0) return missing;
    // It may be younger than what is known of packs.
    await this.index.refresh();
    return this.#missingOf(version);
  }

  async #missingOf(version: Stored<Version>): Promise<string[]> {
    const id = idOf(version);
    const { changes } = this.index;
    if (this.#whole.get(id) === changes) return [];
    const missing = new Set(this.#missing(version.manifest));
    if (missing.size > 0) return [...missing];
    const isKnown = await this.#takeNeeds(version, (hash) => void (this.index.has(hash) || missing.add(hash)));
    if (!isKnown) return [...version.manifest];
    if (missing.size === 0) this.#whole.set(id, changes);
    return [...missing];
  }

  /** Whether `take` got all that it needs; not where its manifest is damaged, or none that its user understands. */
  async #takeNeeds(version: Version, take: (hash: string) => void): Promise<boolean> {
    try {
      for await (const hash of this.hashesOf(version)) take(hash);
      return true;
    } catch (error) {
      if (isDiskTrouble(error)) throw error;
      return false;
    }
  }

  *#missing(hashes: Iterable<string>): Generator<string> {
    for (const hash of hashes) if (!this.index.has(hash)) yield hash;
  }

  /**
   * @internal `take` gets all that versions need which are there, or are being read, again and again. Tells of each what it is
   * called in notes, and whether all is known.
   */
  async *needs(take: (hash: string) => void, except: Iterable<string> = []): AsyncGenerator<Needs> {
    const seen = new Set(except);
    const needs = async (id: string, version: Stored<V> | LostVersion): Promise<Needs> => {
      seen.add(id);
      return { id, version, isKnown: !isLost(version) && (await this.#takeNeeds(version, take)) };
    };
    for await (const { id, record } of this.#records()) if (!seen.has(id)) yield await needs(id, record);
    // After these: what goes meanwhile is there while its reader says so.
    for (const { id, record } of await this.writer.readings()) {
      const bytes = seen.has(id) ? undefined : await readThrough(record, this.disk);
      if (bytes === undefined) continue;
      yield await needs(id, (unseal(bytes)?.value as Stored<V> | undefined) ?? { name: '?', version: 0, lost: true });
    }
  }

  /** Another number says that what is known to be damaged or gone may have changed, as of the last refresh. */
  get changes(): number {
    return this.index.changes;
  }

  /** Bytes of a blob; `undefined` where no pack has a sound copy, nor one that is being written. */
  sizeOf(hash: string): number | undefined {
    return this.index.sizeOf(hash) ?? this.writer.sizeOf(hash);
  }

  /**
   * The bundles that have these blobs, each once, in the order of need. A blob that no pack has is a `MissingBlobsError`,
   * before the first.
   */
  async *bundlesWith(hashes: Iterable<string>): AsyncGenerator<StoredBundle> {
    let open: { pack: string; file: DiskFile | undefined } | undefined;
    try {
      for (const { pack, offset, needed } of await this.#locate(hashes)) {
        if (open?.pack !== pack) {
          await open?.file?.close();
          open = undefined;
          open = { pack, file: await this.index.open(pack) };
        }
        const bundle = await this.index.find({ pack, offset });
        if (open.file !== undefined && bundle !== undefined)
          yield { pack, bundle, bytes: await this.index.read(open.file, bundle) };
        else {
          // Another process wrote the pack anew: what was needed of it is elsewhere now. Or the pack is lost, or this of it.
          await this.index.refresh();
          for (const hash of needed) if (this.index.packOf(hash) === pack) await this.index.mark(pack, hash);
          yield* this.bundlesWith(needed);
        }
      }
    } finally {
      await open?.file?.close();
    }
  }

  /** A blob, checked. A copy that turns out damaged is marked so, and another one looked for. */
  async readBlob(hash: string): Promise<Uint8Array> {
    return (await this.#blobsBeside(hash)).find((blob) => blob.hash === hash)!.bytes;
  }

  /**
   * As `readBlob`, again and again: what a bundle has beside the blob that is wanted is likely wanted next. A blob is there until the
   * next call.
   */
  reader(): (hash: string) => Promise<Uint8Array> {
    let beside = new Map<string, Uint8Array>();
    return async (hash) => {
      if (!beside.has(hash)) {
        for (const bytes of beside.values()) release(bytes);
        beside.clear();
        beside = new Map((await this.#blobsBeside(hash)).map((blob) => [blob.hash, blob.bytes]));
      }
      return beside.get(hash)!;
    };
  }

  /** The sound blobs of a bundle that has this one, and has it sound. */
  async #blobsBeside(hash: string): Promise<Blob[]> {
    for (;;) {
      for await (const { pack, bundle, bytes } of this.bundlesWith([hash])) {
        const payload = bytes.subarray(bundle.headerBytes.length);
        const header = bundle.header;
        const blobs = blobsOf(header, payload).filter((each) => each !== undefined);
        if (header.compressed) release(bytes);
        if (blobs.some((each) => each.hash === hash)) return blobs;
        await this.index.mark(pack, hash);
      }
      await this.index.refresh();
    }
  }

  /** Bytes in packs, and their number, as of the last refresh. */
  usage(): { packs: number; bytes: number } {
    return { packs: this.index.packs.length, bytes: this.index.bytes };
  }

  async #locate(hashes: Iterable<string>): Promise<(Place & { needed: string[] })[]> {
    const found = new Map<string, Place & { needed: string[] }>();
    const missing: string[] = [];
    for (const hash of hashes) {
      const place = this.index.placeOf(hash) ?? (await this.#placeAfterRefresh(hash));
      if (place === undefined) {
        missing.push(hash);
        continue;
      }
      const id = `${place.pack} ${place.offset}`;
      const known = found.get(id);
      if (known === undefined) found.set(id, { ...place, needed: [hash] });
      else known.needed.push(hash);
    }
    if (missing.length > 0) throw new MissingBlobsError(`${missing.length} blobs are damaged or missing`, missing);
    return [...found.values()];
  }

  async #placeAfterRefresh(hash: string): Promise<Place | undefined> {
    if (this.writer.sizeOf(hash) !== undefined) await this.writer.flush();
    await this.index.refresh();
    return this.index.placeOf(hash);
  }

  async #checkFormat(): Promise<void> {
    const file = join(this.directory, 'format');
    const { kind, readOnly = false } = this.#options;
    if (!readOnly && (await readThrough(file, this.disk)) === undefined)
      await this.#makeFormat(file, { store: kind, format: formatNumber });
    const bytes = (await readThrough(file, this.disk)) ?? Buffer.alloc(0);
    const value = unseal(bytes)?.value as { store?: unknown; format?: unknown } | undefined;
    if (value?.store === kind && value.format === formatNumber) return;
    const names = readOnly && value === undefined ? await this.disk.readdir(this.directory) : [];
    if (names.includes('packs') && names.includes('versions')) return;
    const begins = `its file "format" begins with ${JSON.stringify(bytes.toString('utf8', 0, 60))}`;
    const damaged = value === undefined ? '. If it is damaged, move it away: it is written again' : '';
    throw new NoStoreError(
      readOnly && bytes.length === 0
        ? `${this.directory} is no store: it has no file "format", nor the folders "packs" and "versions"`
        : `${this.directory} is no store of this format: ${begins}${damaged}`,
    );
  }

  /** Only in an empty folder, or where the rest is a store's; several processes may come to it at once. */
  async #makeFormat(file: string, format: object): Promise<void> {
    await makeFolder(this.directory, this.disk, 0o700);
    for (const name of await this.disk.readdir(this.directory))
      if (!name.startsWith('.') && !folders.includes(name) && !/^lock$|\.lock$/.test(name) && !(await this.#isRecord(name)))
        throw new NoStoreError(`${this.directory} is not empty and no store: give the store a folder of its own`);
    await this.mutex.run(async () => {
      if ((await readThrough(file, this.disk)) === undefined) await replaceRecord(file, format, this.disk);
    });
  }

  async #makeFolders(): Promise<void> {
    for (const folder of folders) await this.disk.mkdir(join(this.directory, folder), { recursive: true });
    // It is needed when there may be no room to make it.
    (await this.disk.tryLock(join(this.directory, housekeepingLock)))?.release();
    await sync(this.directory, this.disk);
  }

  async #isRecord(name: string): Promise<boolean> {
    const bytes = await readThrough(join(this.directory, name), this.disk).catch(() => undefined);
    return isRecordName(name) && bytes !== undefined && unseal(bytes) !== undefined;
  }

  /** Where the versions of a name are; made where it is missing, and its `name` made anew where that is damaged. */
  async #folderOf(name: string): Promise<string> {
    const folder = join(this.#versions, folderName(name));
    const known = await this.#nameOf(folder);
    if (known.name !== '?') return folder;
    await this.disk.mkdir(folder, { recursive: true });
    await replaceRecord(join(folder, 'name'), { ...known, name } satisfies Name, this.disk);
    await sync(this.#versions, this.disk);
    return folder;
  }

  /** The name is `?` where it is damaged, or the folder has none yet. */
  async #nameOf(folder: string): Promise<Name> {
    const bytes = await readThrough(join(folder, 'name'), this.disk);
    const known = bytes && (unseal(bytes)?.value as Name | undefined);
    if (known !== undefined) return known;
    const newest = (await this.#numbersIn(folder)).at(-1) ?? 0;
    return { name: '?', last: bytes === undefined && newest === 0 ? 0 : newest + numbersLeftOut };
  }

  /** The last number that was given, be its version forgotten by now. */
  async #lastOf(folder: string): Promise<number> {
    return Math.max((await this.#numbersIn(folder)).at(-1) ?? 0, (await this.#nameOf(folder)).last);
  }

  /**
   * @internal What belongs into a file below `versions` of which both copies are damaged: the record of a version, if this process
   * has it in memory; a name as records say it, and `?` where none does.
   */
  async recall(key: string, file: string): Promise<unknown> {
    const folder = join(this.#versions, key);
    if (file !== 'name') return this.#known.get(join(folder, file))?.record;
    const known = await this.#nameOf(folder);
    const record = (await this.#recordsOf(folder, '?')).find((each) => !isLost(each));
    return { ...known, ...(record && { name: record.name }) } satisfies Name;
  }

  async #numbersIn(folder: string): Promise<number[]> {
    const names: string[] = await unlessGone(this.disk.readdir(folder), []);
    // The newest may not be durable yet, or its writer has died before that: what was listed stays.
    if (names.includes('.new')) await isDone(sync(folder, this.disk));
    return names
      .filter((name) => /^[1-9]\d*$/.test(name))
      .map(Number)
      .sort((a, b) => a - b);
  }

  async #recordOf(folder: string, name: string, number: number): Promise<Stored<V> | LostVersion | undefined> {
    if (number === 0) return { name, version: 0, lost: true };
    const file = join(folder, String(number));
    const id = `${basename(folder)}-${number}`;
    const known = this.#known.get(file);
    const look = await this.#lookOf(file, known?.look);
    if (known !== undefined && known.look === look && !this.index.isUnknown(id)) return known.record;
    const bytes = await readThrough(file, this.disk);
    if (bytes === undefined) {
      this.#known.delete(file);
      return undefined;
    }
    const record = unseal(bytes)?.value as Stored<V> | undefined;
    if (record === undefined) {
      await this.index.markUnknown(id);
      return { name, version: number, lost: true };
    }
    this.#known.set(file, { record, look });
    return record;
  }

  /** What tells that a file may be another one; as it was where the disk cannot tell. */
  async #lookOf(file: string, before = ''): Promise<string> {
    const stat = await unlessTrouble(unlessGone(this.disk.stat(file), undefined), 'trouble' as const);
    return stat === 'trouble' ? before : `${stat?.size} ${stat?.mtimeMs}`;
  }

  /** A file of which the disk cannot tell is. */
  async #isThere(file: string): Promise<boolean> {
    return unlessTrouble(
      unlessGone(
        this.disk.stat(file).then(() => true),
        false,
      ),
      true,
    );
  }
}

/** What a version is called in notes. */
const idOf = ({ name, version }: Stored<Version>): string => `${folderName(name)}-${version}`;

const folderName = (name: string): string => hashOf(Buffer.from(name)).slice(0, 32);
