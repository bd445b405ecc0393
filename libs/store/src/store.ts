/**
 * A content-addressed store in a folder, on one machine's disk or on a file system that several share. Blobs, named by their
 * SHA-256, are kept once; a version names those that it needs. Any number of processes work on it at once. What stands where,
 * and what a crash leaves: FORMAT.md.
 *
 * A version exists once its file has its name, and that is given to it after every blob it needs is durable. Packs are added
 * without a lock, for their names are their own; what is decided for all is decided under the lock: the number of a version,
 * its removal, and the removal of packs. Whoever makes a version looks again, under the lock, whether all its blobs are there.
 */
import { join } from 'node:path';
import { systemClock, type Clock } from '@lab/process/time';
import { BlobIndex } from './blob-index.ts';
import { blobsOf, decodeBundle, encodeBundle, hashOf, headerBytesOf, type Blob } from './bundle.ts';
import { readOnly, systemDisk, type Disk } from './disk.ts';
import { isDone, makeFolder, readIfThere, replaceFile, seal, sync, unlessGone, unseal, writeSynced } from './durable.ts';
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

/** Both copies of a version's record are damaged. */
export interface LostVersion {
  /** `?` where that is damaged, too. */
  name: string;
  version: number;
  lost: true;
}

export const isLost = (version: object): version is LostVersion => 'lost' in version;

/** Another version of the same name was quicker: it is the newest now. */
export class SupersededError extends Error {
  override readonly name = 'SupersededError';
}

/** Something is needed and not there, or not as it should be. */
export class MissingBlobsError extends Error {
  override readonly name = 'MissingBlobsError';
  readonly hashes: readonly string[];
  constructor(what: string, hashes: readonly string[]) {
    super(what);
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
  /** Nothing is written, not even a lock: what was found damaged is known to this process only. Default false. */
  readOnly?: boolean;
  /** For the wait for a lock. Default: the host's. */
  clock?: Clock;
  /** UUIDs, for the names of packs and folders: never the same twice, over all processes. Default: random ones. */
  newId?: () => string;
}

const formatNumber = 1;
const folders = ['packs', 'versions', 'incoming', 'damaged'];

/** Whether a file in the store's folder is a record: `format`, or one of its user's. */
export const isRecordName = (name: string): boolean => /^[a-z]+$/.test(name) && name !== 'lock' && !folders.includes(name);

/** A bundle as it stands in its pack, unchecked. */
export interface StoredBundle {
  pack: string;
  bundle: PackedBundle;
  bytes: Buffer;
}

/** The file `name` in the folder of a name's versions, with the last number given to a version that was forgotten. */
interface Name {
  name: string;
  last: number;
}

export class Store<V extends Version> {
  readonly directory: string;
  /** @internal These five are for the rest of this library. */
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
  /** Versions never change. */
  readonly #records = new Map<string, Stored<V>>();

  private constructor(directory: string, options: StoreOptions) {
    this.directory = directory;
    const { disk = systemDisk } = options;
    this.disk = options.readOnly === true ? readOnly(disk) : disk;
    this.clock = options.clock ?? systemClock;
    this.#options = options;
    this.#versions = join(directory, 'versions');
    this.index = new BlobIndex(directory, this.disk);
    const onSealed: OnSealed = (pack, bundles) => this.index.add(pack, bundles);
    this.writer = new PackWriter(directory, this.disk, onSealed, options.newId);
    this.mutex = new Mutex(this.disk, join(directory, 'lock'), this.clock);
  }

  /**
   * Opens a store, or makes one in an empty or missing folder. A folder of something else, or a store of another kind, is an
   * error. One that is there is opened to be read whatever of it can be written: on a disk that is full, or read only.
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
    const kept = lacking.size === blobs.length ? bundle : encodeBundle([...lacking.values()]);
    await this.writer.append(kept, lacking.size === blobs.length ? header : undefined);
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
      await this.disk.rm(aside);
      await sync(folder, this.disk);
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
        await this.#folderOf(name);
        // With all of them, one more than was given: a version that is being made has lost its base.
        const last = (await this.#lastOf(folder)) + (isAll ? 1 : 0);
        await replaceFile(join(folder, 'name'), seal({ name, last } satisfies Name), this.disk);
      }
      for (const number of doomed) await this.disk.rm(join(folder, String(number)));
      if (doomed.length > 0) await sync(folder, this.disk);
      return doomed.length;
    });
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
    const folders = only === undefined ? await this.disk.readdir(this.#versions) : [folderName(only)];
    const found: (Stored<V> | LostVersion)[] = [];
    for (const each of folders.sort()) {
      const folder = join(this.#versions, each);
      const name = only ?? (await this.#nameOf(folder)).name;
      for (const number of await this.#numbersIn(folder)) {
        const record = await this.#recordOf(folder, name, number);
        // Retention may have been quicker.
        if (record !== undefined) found.push(record);
      }
    }
    return found;
  }

  /** The manifest of a version, in pieces. Throws `MissingBlobsError` where it is damaged. */
  async *manifestOf({ manifest }: Version): AsyncGenerator<Uint8Array> {
    // What a bundle has beside the blob that is wanted is wanted next.
    let beside = new Map<string, Uint8Array>();
    for (const hash of manifest) {
      if (!beside.has(hash)) beside = new Map((await this.#blobsBeside(hash)).map((blob) => [blob.hash, blob.bytes]));
      yield beside.get(hash)!;
    }
  }

  /**
   * All that a version needs: what its manifest names, and its manifest. Throws `MissingBlobsError` where that is damaged.
   */
  async *hashesOf(version: Version): AsyncGenerator<string> {
    yield* version.manifest;
    yield* this.#options.hashesIn(this.manifestOf(version));
  }

  /** Hashes that a version needs and no pack has; those of its manifest alone where that is damaged. */
  async missingOf(version: Version): Promise<string[]> {
    const missing = new Set(this.#missing(version.manifest));
    if (missing.size > 0) return [...missing];
    for await (const hash of this.hashesOf(version)) if (!this.index.has(hash)) missing.add(hash);
    return [...missing];
  }

  *#missing(hashes: Iterable<string>): Generator<string> {
    for (const hash of hashes) if (!this.index.has(hash)) yield hash;
  }

  /**
   * Whether anything was found damaged or missing, and is not known to be whole again. Where not, every version is whole as far
   * as is known.
   */
  get hasDamage(): boolean {
    return this.index.hasMarks;
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
    for (const { pack, bundle, needed } of await this.#locate(hashes)) {
      const bytes = await this.index.read(pack, bundle);
      if (bytes !== undefined) yield { pack, bundle, bytes };
      else {
        // Another process wrote the pack anew: what was needed of it is elsewhere now. Or the pack is lost, and its index is not.
        await this.index.refresh();
        for (const hash of needed) if (this.index.packOf(hash) === pack) await this.index.mark(pack, hash);
        yield* this.bundlesWith(needed);
      }
    }
  }

  /** A blob, checked. A copy that turns out damaged is marked so, and another one looked for. */
  async readBlob(hash: string): Promise<Uint8Array> {
    return (await this.#blobsBeside(hash)).find((blob) => blob.hash === hash)!.bytes;
  }

  /** The sound blobs of a bundle that has this one, and has it sound. */
  async #blobsBeside(hash: string): Promise<Blob[]> {
    for (;;) {
      for await (const { pack, bundle, bytes } of this.bundlesWith([hash])) {
        const payload = bytes.subarray(headerBytesOf(bundle.header.blobs.length));
        const blobs = blobsOf(bundle.header, payload).filter((each) => each !== undefined);
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

  async #locate(hashes: Iterable<string>): Promise<{ pack: string; bundle: PackedBundle; needed: string[] }[]> {
    const found = new Map<string, { pack: string; bundle: PackedBundle; needed: string[] }>();
    const missing: string[] = [];
    for (const hash of hashes) {
      const place = (await this.#place(hash)) ?? (await this.#placeAfterRefresh(hash));
      if (place === undefined) {
        missing.push(hash);
        continue;
      }
      const id = `${place.pack} ${place.bundle.offset}`;
      const known = found.get(id);
      if (known === undefined) found.set(id, { ...place, needed: [hash] });
      else known.needed.push(hash);
    }
    if (missing.length > 0) throw new MissingBlobsError(`${missing.length} blobs are damaged or missing`, missing);
    return [...found.values()];
  }

  async #place(hash: string): Promise<{ pack: string; bundle: PackedBundle } | undefined> {
    const pack = this.index.packOf(hash);
    const bundle = pack === undefined ? undefined : await this.index.find(pack, hash);
    return pack === undefined || bundle === undefined ? undefined : { pack, bundle };
  }

  async #placeAfterRefresh(hash: string): Promise<{ pack: string; bundle: PackedBundle } | undefined> {
    if (this.writer.sizeOf(hash) !== undefined) await this.writer.flush();
    await this.index.refresh();
    return this.#place(hash);
  }

  async #checkFormat(): Promise<void> {
    const file = join(this.directory, 'format');
    const expected = { store: this.#options.kind, format: formatNumber };
    if ((await readIfThere(file, this.disk)) === undefined) await this.#makeFormat(file, expected);
    const bytes = (await readIfThere(file, this.disk)) ?? Buffer.alloc(0);
    const value = unseal(bytes)?.value as typeof expected | undefined;
    if (value?.store !== expected.store || value.format !== expected.format)
      throw new Error(
        `${this.directory} is no store of this format: its file "format" begins with ${JSON.stringify(bytes.toString('utf8', 0, 60))}`,
      );
  }

  /** Only in an empty folder, or where the rest is a store's; several processes may come to it at once. */
  async #makeFormat(file: string, format: object): Promise<void> {
    if (this.#options.readOnly !== true) await makeFolder(this.directory, this.disk, 0o700);
    for (const name of await this.disk.readdir(this.directory))
      if (!name.startsWith('.') && !folders.includes(name) && !/^lock$|\.lock$/.test(name) && !(await this.#isRecord(name)))
        throw new Error(`${this.directory} is not empty and no store: give the store a folder of its own`);
    await this.mutex.run(async () => {
      if ((await readIfThere(file, this.disk)) === undefined) await replaceFile(file, seal(format), this.disk);
    });
  }

  async #makeFolders(): Promise<void> {
    for (const folder of folders) await this.disk.mkdir(join(this.directory, folder), { recursive: true });
    await sync(this.directory, this.disk);
  }

  async #isRecord(name: string): Promise<boolean> {
    const bytes = await readIfThere(join(this.directory, name), this.disk).catch(() => undefined);
    return isRecordName(name) && bytes !== undefined && unseal(bytes) !== undefined;
  }

  /** Where the versions of a name are; made where it is missing. */
  async #folderOf(name: string): Promise<string> {
    const folder = join(this.#versions, folderName(name));
    if (await readIfThere(join(folder, 'name'), this.disk)) return folder;
    await this.disk.mkdir(folder, { recursive: true });
    await replaceFile(join(folder, 'name'), seal({ name, last: 0 } satisfies Name), this.disk);
    await sync(this.#versions, this.disk);
    return folder;
  }

  async #nameOf(folder: string): Promise<Name> {
    const bytes = await readIfThere(join(folder, 'name'), this.disk);
    return { name: '?', last: 0, ...(bytes && (unseal(bytes)?.value as Name | undefined)) };
  }

  /** The last number that was given, be its version forgotten by now. */
  async #lastOf(folder: string): Promise<number> {
    return Math.max((await this.#numbersIn(folder)).at(-1) ?? 0, (await this.#nameOf(folder)).last);
  }

  async #numbersIn(folder: string): Promise<number[]> {
    const names = await unlessGone(this.disk.readdir(folder), []);
    return names
      .filter((name) => /^[1-9]\d*$/.test(name))
      .map(Number)
      .sort((a, b) => a - b);
  }

  async #recordOf(folder: string, name: string, number: number): Promise<Stored<V> | LostVersion | undefined> {
    const file = join(folder, String(number));
    const known = this.#records.get(file);
    if (known !== undefined) {
      return (await unlessGone(this.disk.stat(file), undefined)) && known;
    }
    const bytes = await readIfThere(file, this.disk);
    if (bytes === undefined) return undefined;
    const record = unseal(bytes)?.value as Stored<V> | undefined;
    if (record === undefined) return { name, version: number, lost: true };
    this.#records.set(file, record);
    return record;
  }
}

const folderName = (name: string): string => hashOf(Buffer.from(name)).slice(0, 32);
