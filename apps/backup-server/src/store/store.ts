/**
 * The backup storage: a folder that the server and every requester has, on one machine's disk or on a file system that several share.
 *
 *   format               what this is
 *   packs/ID.pack        bundles of blobs, 16 MiB or what a backup brought (pack-writer.ts), ID.index what is in it
 *   versions/KEY/name    node and path; KEY is made from them
 *   versions/KEY/N       version N: its manifest's blobs, checksum, totals and notes
 *   incoming/WRITER/     packs that are being written, by the process that holds the lock in there
 *   damaged/PACK-HASH    that copy of a blob is not what it should be
 *   lock                 held while versions come or go, and while packs go
 *
 * A version exists once its file has its name, and that is given to it after every blob it needs is durable. Packs are added without a lock, for their
 * names are their own; what is decided for all is decided under the lock: the number of a version, its removal, and the removal of packs. Whoever
 * makes a version looks again, under the lock, whether all its blobs are there.
 */
import { link, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readIfThere, replaceFile, seal, sync, unseal, writeSynced } from '@lab/store/durable';
import { blobsOf, bundleBytes, decodeBundle, encodeBundle, hashOf, headerBytesOf, type Blob } from '../bundle.ts';
import { chunksIn, manifestChunks } from '../domain/chunker.ts';
import { hashesOf, parseManifest, type Entry } from '../domain/manifest.ts';
import { BlobIndex } from './blob-index.ts';
import { Mutex } from './lock.ts';
import { PackWriter } from './pack-writer.ts';
import type { PackedBundle } from './pack-index.ts';

export interface Key {
  node: string;
  path: string;
}

export interface Note {
  path: string;
  note: string;
}

/** What is known of a version without its manifest. */
export interface Version extends Key {
  version: number;
  createdMs: number;
  checksum: string;
  files: number;
  bytes: number;
  /** What the store grew by when it was made. */
  storedBytes: number;
  /** Blobs that are its manifest, in order. */
  manifest: string[];
  /** What could not be backed up as it was: unreadable, or changing all the time. */
  notes: Note[];
}

/** Both copies of a version's record are damaged. */
export interface LostVersion extends Key {
  version: number;
  lost: true;
}

/** Another backup of the same path was quicker: its version is the newest now. */
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

const format = { store: 'lab backup-server', format: 1 };
const folders = ['packs', 'versions', 'incoming', 'damaged'];
const ownNames = new Set(['format', 'lock', 'housekeeping.lock', 'nodes-manager.lock', 'registry', ...folders]);

/** A bundle as it stands in its pack, unchecked. */
export interface StoredBundle {
  pack: string;
  bundle: PackedBundle;
  bytes: Buffer;
}

/** The file `name` of a path's folder: whose it is, and the last number given to a version that was forgotten. */
interface Name extends Key {
  last: number;
}

export class Store {
  readonly directory: string;
  readonly index: BlobIndex;
  readonly writer: PackWriter;
  readonly mutex: Mutex;
  readonly #versions: string;
  /** Versions never change. */
  readonly #records = new Map<string, Version | LostVersion>();

  private constructor(directory: string) {
    this.directory = directory;
    this.#versions = join(directory, 'versions');
    this.index = new BlobIndex(directory);
    this.writer = new PackWriter(directory, (pack, bundles) => this.index.add(pack, bundles));
    this.mutex = new Mutex(join(directory, 'lock'));
  }

  /** Opens a store, or makes one in an empty or missing folder. A folder of something else is an error. */
  static async open(directory: string): Promise<Store> {
    const store = new Store(directory);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await store.#checkFormat();
    for (const folder of folders) await mkdir(join(directory, folder), { recursive: true });
    await sync(directory);
    await store.writer.start();
    await store.index.refresh();
    return store;
  }

  async close(): Promise<void> {
    await this.writer.stop();
  }

  /** Whether a blob has still to be sent: no pack has it, nor one that is being written. */
  lacks(hash: string): boolean {
    return !this.index.has(hash) && !this.writer.has(hash);
  }

  /**
   * Takes a bundle from a node: every blob is checked against its hash, what is there already is left out. Resolves, when the kernel has it, with the
   * bytes that the store grew by. A bundle that is not what it says is a `MalformedBundleError`.
   */
  async keep(bundle: Buffer): Promise<number> {
    const { header, blobs } = decodeBundle(bundle);
    const lacking = new Map(blobs.filter(({ hash }) => this.lacks(hash)).map((blob) => [blob.hash, blob]));
    if (lacking.size === 0) return 0;
    const kept = lacking.size === blobs.length ? bundle : encodeBundle([...lacking.values()]);
    await this.writer.append(kept, lacking.size === blobs.length ? header : undefined);
    return kept.length;
  }

  /** Stores a manifest; its blobs, in order, and the bytes that the store grew by. */
  async keepManifest(text: string): Promise<{ hashes: string[]; storedBytes: number }> {
    const hashes: string[] = [];
    let storedBytes = 0;
    let blobs: Blob[] = [];
    const flush = async (): Promise<void> => {
      if (blobs.length > 0) storedBytes += await this.keep(encodeBundle(blobs));
      blobs = [];
    };
    for (const bytes of chunksIn(Buffer.from(text), manifestChunks)) {
      const hash = hashOf(bytes);
      hashes.push(hash);
      if (!this.lacks(hash)) continue;
      blobs.push({ hash, bytes });
      if (blobs.reduce((sum, blob) => sum + blob.bytes.length, 0) >= bundleBytes) await flush();
    }
    await flush();
    return { hashes, storedBytes };
  }

  /**
   * Makes the version that follows `base`, once all that was kept is durable. Rejects with `SupersededError` when the newest version is another by now, and
   * with `MissingBlobsError` when a pack that has one of `hashes` went away meanwhile. Keeps the newest `keep` versions; how many went is `removed`.
   */
  async commit(
    record: Omit<Version, 'version'>,
    { base, hashes, keep }: { base: number; hashes: Iterable<string>; keep?: number | undefined },
  ): Promise<{ version: number; removed: number }> {
    await this.writer.flush();
    return this.mutex.run(async () => {
      const folder = await this.#folderOf(record);
      const numbers = await this.#numbersIn(folder);
      const newest = numbers.at(-1) ?? (await nameOf(folder)).last;
      if (newest !== base) throw new SupersededError(`version ${newest} was made meanwhile`);
      await this.index.refresh();
      const missing = [...hashes, ...record.manifest].filter((hash) => !this.index.has(hash));
      if (missing.length > 0)
        throw new MissingBlobsError(`${missing.length} blobs that the backup relied on were removed meanwhile`, missing);
      const version = base + 1;
      const aside = join(folder, '.new');
      // One that a crash left may be a version, by its other name.
      await rm(aside, { force: true });
      await writeSynced(aside, seal({ ...record, version }));
      // Unlike a rename, a link never replaces what is there.
      await link(aside, join(folder, String(version)));
      await rm(aside);
      const surplus = keep === undefined ? [] : [...numbers, version].slice(0, -keep);
      for (const number of surplus) await rm(join(folder, String(number)));
      await sync(folder);
      return { version, removed: surplus.length };
    });
  }

  /**
   * Removes all versions of a path; their blobs go when housekeeping finds that nothing needs them. Numbers are not given again: whoever still holds an old one
   * would take the new version for it.
   */
  async forget(key: Key): Promise<number> {
    const folder = join(this.#versions, folderName(key));
    return this.mutex.run(async () => {
      const numbers = await this.#numbersIn(folder);
      await this.#folderOf(key);
      // One more than was given: a backup that is under way has lost its base.
      const last = (numbers.at(-1) ?? (await nameOf(folder)).last) + 1;
      await replaceFile(join(folder, 'name'), seal({ ...key, last } satisfies Name));
      for (const number of numbers) await rm(join(folder, String(number)));
      await sync(folder);
      return numbers.length;
    });
  }

  /** The newest version, if its record can be read, and the last number that was given. */
  async newest(key: Key): Promise<{ number: number; version: Version | undefined }> {
    const folder = join(this.#versions, folderName(key));
    const number = (await this.#numbersIn(folder)).at(-1);
    if (number === undefined) return { number: (await nameOf(folder)).last, version: undefined };
    const record = await this.#recordOf(folder, key, number);
    return { number, version: record === undefined || 'lost' in record ? undefined : record };
  }

  /** All versions, or those of a path, the oldest first. */
  async versions(only?: Key): Promise<(Version | LostVersion)[]> {
    const names = only === undefined ? await readdir(this.#versions) : [folderName(only)];
    const found: (Version | LostVersion)[] = [];
    for (const name of names.sort()) {
      const folder = join(this.#versions, name);
      const key = only ?? (await nameOf(folder));
      for (const number of await this.#numbersIn(folder)) {
        const record = await this.#recordOf(folder, key, number);
        // Retention may have been quicker.
        if (record !== undefined) found.push(record);
      }
    }
    return found;
  }

  /** The entries of a version. Rejects with `MissingBlobsError` where its manifest is damaged. */
  async entriesOf(version: Version): Promise<Entry[]> {
    const parts: Uint8Array[] = [];
    for (const hash of version.manifest) parts.push(await this.readBlob(hash));
    return parseManifest(Buffer.concat(parts).toString());
  }

  /** Hashes that a version needs and no pack has; those of its manifest alone where that is damaged. */
  async missingOf(version: Version): Promise<string[]> {
    const lost = version.manifest.filter((hash) => !this.index.has(hash));
    if (lost.length > 0) return lost;
    return [...hashesOf(await this.entriesOf(version))].filter((hash) => !this.index.has(hash));
  }

  /** The bundles that have these blobs, each once, in the order of need. A blob that no pack has is a `MissingBlobsError`, before the first. */
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
    for (;;) {
      for await (const { pack, bundle, bytes } of this.bundlesWith([hash])) {
        const payload = bytes.subarray(headerBytesOf(bundle.header.blobs.length));
        const blob = blobsOf(bundle.header, payload).find((each) => each?.hash === hash);
        if (blob !== undefined) return blob.bytes;
        await this.index.mark(pack, hash);
      }
      await this.index.refresh();
    }
  }

  /** Bytes in packs, and their number. */
  async usage(): Promise<{ packs: number; bytes: number }> {
    const folder = join(this.directory, 'packs');
    let [packs, bytes] = [0, 0];
    for (const name of await readdir(folder)) {
      if (!name.endsWith('.pack')) continue;
      packs++;
      bytes += await stat(join(folder, name)).then(
        ({ size }) => size,
        () => 0,
      );
    }
    return { packs, bytes };
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
    if (this.writer.has(hash)) await this.writer.flush();
    await this.index.refresh();
    return this.#place(hash);
  }

  async #checkFormat(): Promise<void> {
    const file = join(this.directory, 'format');
    if ((await readIfThere(file)) === undefined) await this.#makeFormat(file);
    const bytes = (await readIfThere(file)) ?? Buffer.alloc(0);
    const value = unseal(bytes)?.value as typeof format | undefined;
    if (value?.store !== format.store || value.format !== format.format)
      throw new Error(
        `${this.directory} is no store of this format: its file "format" begins with ${JSON.stringify(bytes.toString('utf8', 0, 60))}`,
      );
  }

  /** Only in an empty folder; several processes may come to it at once. */
  async #makeFormat(file: string): Promise<void> {
    const others = (await readdir(this.directory)).filter((name) => !name.startsWith('.') && !ownNames.has(name));
    if (others.length > 0) throw new Error(`${this.directory} is not empty and no store: give the store a folder of its own`);
    await this.mutex.run(async () => {
      if ((await readIfThere(file)) === undefined) await replaceFile(file, seal(format));
    });
  }

  async #folderOf({ node, path }: Key): Promise<string> {
    const name = folderName({ node, path });
    const folder = join(this.#versions, name);
    if (await readIfThere(join(folder, 'name'))) return folder;
    await mkdir(folder, { recursive: true });
    await replaceFile(join(folder, 'name'), seal({ node, path, last: 0 } satisfies Name));
    await sync(this.#versions);
    return folder;
  }

  async #numbersIn(folder: string): Promise<number[]> {
    const names = await readdir(folder).catch(() => []);
    return names
      .filter((name) => /^[1-9]\d*$/.test(name))
      .map(Number)
      .sort((a, b) => a - b);
  }

  async #recordOf(folder: string, key: Key, number: number): Promise<Version | LostVersion | undefined> {
    const file = join(folder, String(number));
    const known = this.#records.get(file);
    if (known !== undefined) return (await exists(file)) ? known : undefined;
    const bytes = await readIfThere(file);
    if (bytes === undefined) return undefined;
    const value = unseal(bytes)?.value as Version | undefined;
    const record = value ?? { ...key, version: number, lost: true as const };
    if (value !== undefined) this.#records.set(file, record);
    return record;
  }
}

const folderName = ({ node, path }: Key): string => hashOf(Buffer.from(JSON.stringify([node, path]))).slice(0, 32);

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

async function nameOf(folder: string): Promise<Name> {
  const bytes = await readIfThere(join(folder, 'name'));
  return (bytes && (unseal(bytes)?.value as Name | undefined)) ?? { node: '?', path: '?', last: 0 };
}
