/**
 * Writes packs. A pack grows in the writer's own folder below `incoming`, and moves to `packs` when it is complete and on disk,
 * its index last: a pack that has an index is whole. One pack is open at a time, for all transfers of the process, so that what
 * two of them bring is stored once.
 *
 * The writer's folder is locked as long as its process lives. What a dead one left is taken over by whoever looks next: bundle
 * by bundle, all that had been written, for a killed process takes nothing with it that it had handed to the kernel.
 */
import { randomUUID } from 'node:crypto';
import { basename, join } from 'node:path';
import { closing, isDone, sync, unlessGone, unlessTrouble, writeAll, writeSynced } from './durable.ts';
import { decodeHeader, headerBytesOf, type BundleHeader } from './bundle.ts';
import type { Disk, DiskFile } from './disk.ts';
import type { HeldLock } from './lock.ts';
import { encodeIndex, PackedBundle, walkUnfinished } from './pack-index.ts';

/**
 * A pack is closed when it is larger: few enough files and syncs, small enough to be made anew when half of it is not needed
 * any more.
 */
const packBytes = 16 * 1024 * 1024;
/** Or when it has so many blobs, which may be tiny: its index is read as a whole. */
const packBlobs = 65_536;
/** Packs that are being synced while the next one is written. */
const sealingMax = 2;

interface OpenPack {
  id: string;
  file: DiskFile;
  size: number;
  blobs: number;
  bundles: PackedBundle[];
  /** All that was given a place so far. */
  written: Promise<void>;
}

/** Begins the names of folders that are being removed. */
const goneMark = '.gone-';

/** Hears of every pack that counts from now on. */
export type OnSealed = (pack: string, bundles: readonly PackedBundle[]) => void;

export class PackWriter {
  readonly #disk: Disk;
  readonly #packs: string;
  readonly #incoming: string;
  /** Of its own; none until it is needed. */
  #folder = '';
  readonly #onSealed: OnSealed;
  readonly #newId: () => string;
  #lock: HeldLock | undefined;
  #begun: Promise<void> | undefined;
  #open: Promise<OpenPack> | undefined;
  /** Bundles that wait for a pack. */
  readonly #placing = new Set<Promise<unknown>>();
  /** Packs that are being closed; each leaves the set before it settles, and never rejects. */
  readonly #sealing = new Set<Promise<void>>();
  /** Of a pack that could not be closed, for the next flush. */
  #failure: Error | undefined;
  /** Blobs that are written, and not yet in a pack that counts, and their sizes. */
  readonly #pending = new Map<string, number>();

  constructor(directory: string, disk: Disk, onSealed: OnSealed, newId: () => string = randomUUID) {
    this.#disk = disk;
    this.#newId = () => newId().replaceAll('-', '');
    this.#packs = join(directory, 'packs');
    this.#incoming = join(directory, 'incoming');
    this.#onSealed = onSealed;
  }

  /** Makes its folder, and locks it: who only reads needs none. */
  #begin(): Promise<void> {
    this.#begun ??= this.#makeFolder().catch((error: unknown) => {
      this.#begun = undefined;
      throw error;
    });
    return this.#begun;
  }

  async #makeFolder(): Promise<void> {
    // Another process may take a folder that is not locked yet for one of a dead writer.
    while (this.#lock === undefined) {
      const folder = (this.#folder = join(this.#incoming, this.#newId()));
      await this.#disk.mkdir(folder);
      try {
        this.#lock = await this.#disk.tryLock(join(folder, 'lock'));
      } catch (error) {
        await this.#disk.rmdir(folder).catch(() => undefined);
        throw error;
      }
    }
    // Nobody would take over what a power cut left without its lock.
    await sync(this.#folder, this.#disk);
  }

  /** Bytes of a blob that has been given to `append`, in a bundle. It is durable after the next `flush`. */
  sizeOf(hash: string): number | undefined {
    return this.#pending.get(hash);
  }

  /**
   * Resolves when the kernel has it, and all that stands before it in the pack, for a salvage ends at the first gap: it then
   * survives the end of this process, and after `flush` that of the machine.
   */
  async append(bundle: Buffer, header: BundleHeader = decodeHeader(bundle)): Promise<void> {
    for (const { hash, bytes } of header.blobs) this.#pending.set(hash, bytes);
    const placing = this.#place(bundle, header);
    this.#placing.add(placing);
    try {
      const { written } = await placing.finally(() => this.#placing.delete(placing));
      await written;
    } catch (error) {
      for (const { hash } of header.blobs) this.#pending.delete(hash);
      throw error;
    }
  }

  /**
   * Resolves when everything that was appended is in packs that count. Rejects where one of them could not be written; its
   * blobs are lost.
   */
  async flush(): Promise<void> {
    while (this.#placing.size > 0) await Promise.allSettled(this.#placing);
    this.#beginSeal();
    await Promise.all(this.#sealing);
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
  }

  /** Gives a bundle its place in a pack, and begins to write it there. */
  async #place(bundle: Buffer, header: BundleHeader): Promise<{ written: Promise<void> }> {
    const pack = await this.#openPack();
    const offset = pack.size;
    pack.size += bundle.length;
    pack.blobs += header.blobs.length;
    // A copy: the bundle goes.
    pack.bundles.push(new PackedBundle(offset, Buffer.from(bundle.subarray(0, headerBytesOf(header.blobs.length)))));
    const own = writeAll(pack.file, bundle, offset);
    const written = Promise.all([pack.written, own]).then(() => {});
    written.catch(() => undefined);
    pack.written = written;
    if (pack.size >= packBytes || pack.blobs >= packBlobs) this.#beginSeal();
    return { written };
  }

  async stop(): Promise<void> {
    await this.flush();
    if (this.#lock === undefined) return;
    await this.#remove(this.#folder);
    this.#lock.release();
  }

  /** Remembers that a transfer is under way, for whoever removes packs that no version needs yet. Returns how to end that. */
  async beginTransfer(): Promise<() => Promise<void>> {
    await this.#begin();
    const note = join(this.#folder, `${this.#newId()}.transfer`);
    await this.#disk.writeFile(note, '');
    return () => this.#disk.rm(note, { force: true });
  }

  /**
   * Remembers that the version whose record this is is being read, by a second name of the record: it takes no bytes, and stays
   * when the version goes. Returns how to end that.
   */
  async beginReading(record: string, id: string): Promise<() => Promise<void>> {
    await this.#begin();
    const note = join(this.#folder, `${id}-${this.#newId()}.reading`);
    await this.#disk.link(record, note);
    return () => this.#disk.rm(note, { force: true });
  }

  /** Records of all versions that are being read in any process, and their ids. */
  async readings(): Promise<{ id: string; record: string }[]> {
    const names = await this.#notes('.reading');
    return names.map((record) => ({ id: basename(record).split('-').slice(0, 2).join('-'), record }));
  }

  /** When the oldest transfer began that is under way in any process, in ms since 1970; `Infinity` where there is none. */
  async oldestTransferMs(): Promise<number> {
    await this.takeOver();
    let oldestMs = Infinity;
    for (const path of await this.#notes('.transfer')) {
      const note = await unlessGone(this.#disk.open(path, 'r'), undefined);
      if (note === undefined) continue;
      oldestMs = Math.min(oldestMs, (await note.stat()).mtimeMs);
      await note.close();
    }
    return oldestMs;
  }

  /** Notes of all processes that are not known to be dead. */
  async #notes(kind: string): Promise<string[]> {
    const writers = (await this.#disk.readdir(this.#incoming)).filter((writer) => !writer.startsWith(goneMark));
    const folders = writers.map(async (writer) => {
      const names = await unlessGone(this.#disk.readdir(join(this.#incoming, writer)), []);
      return names.filter((name) => name.endsWith(kind)).map((name) => join(this.#incoming, writer, name));
    });
    return (await Promise.all(folders)).flat();
  }

  /** Completes what dead writers have left. What the disk cannot do now is left for later: no version needs it yet. */
  async takeOver(): Promise<void> {
    for (const writer of await unlessTrouble(unlessGone(this.#disk.readdir(this.#incoming), []), [])) {
      const folder = join(this.#incoming, writer);
      if (folder !== this.#folder) await isDone(this.#takeOver(folder, writer));
    }
  }

  async #takeOver(folder: string, writer: string): Promise<void> {
    if (writer.startsWith(goneMark)) return this.#disk.rm(folder, { recursive: true, force: true }).catch(() => undefined);
    const lock = await this.#disk.tryLock(join(folder, 'lock'), { existing: true });
    // Once it is ours, nobody else touches it.
    try {
      if (lock !== undefined) await this.#salvageAll(folder);
    } finally {
      lock?.release();
    }
  }

  async #salvageAll(folder: string): Promise<void> {
    const names = await unlessGone(this.#disk.readdir(folder), []);
    for (const name of names) if (name.endsWith('.pack')) await this.#salvage(folder, name.slice(0, -'.pack'.length));
    for (const name of names) if (name.endsWith('.index')) await this.#salvageIndex(folder, name);
    if (names.length > 0) await this.#remove(folder);
  }

  /** Away with its name first, so that nobody opens what is half gone. */
  async #remove(folder: string): Promise<void> {
    const gone = join(this.#incoming, `${goneMark}${this.#newId()}`);
    await this.#disk.rename(folder, gone);
    await this.#disk.rm(gone, { recursive: true, force: true });
  }

  async #openPack(): Promise<OpenPack> {
    while (this.#sealing.size >= sealingMax) await Promise.race(this.#sealing);
    const opening = (this.#open ??= this.#newPack());
    try {
      return await opening;
    } catch (error) {
      if (this.#open === opening) this.#open = undefined;
      throw error;
    }
  }

  async #newPack(): Promise<OpenPack> {
    await this.#begin();
    const id = this.#newId();
    return {
      id,
      file: await this.#disk.open(join(this.#folder, `${id}.pack`), 'wx+'),
      size: 0,
      blobs: 0,
      bundles: [],
      written: Promise.resolve(),
    };
  }

  #beginSeal(): void {
    const pack = this.#open;
    if (pack === undefined) return;
    this.#open = undefined;
    const sealing: Promise<void> = pack
      .then((each) => this.#seal(each))
      .catch((error: Error) => void (this.#failure ??= error))
      .finally(() => this.#sealing.delete(sealing));
    this.#sealing.add(sealing);
  }

  async #seal(pack: OpenPack): Promise<void> {
    const from = join(this.#folder, pack.id);
    try {
      await pack.written;
      await pack.file.sync();
      await this.#publish(from, pack.id, pack.bundles);
      this.#onSealed(pack.id, pack.bundles);
    } catch (error) {
      // A full disk, most likely: make room again.
      await Promise.all([this.#disk.rm(`${from}.pack`, { force: true }), this.#disk.rm(`${from}.index`, { force: true })]).catch(
        () => undefined,
      );
      throw error;
    } finally {
      await pack.file.close().catch(() => undefined);
      for (const { header } of pack.bundles) for (const { hash } of header.blobs) this.#pending.delete(hash);
    }
  }

  /** The pack's bytes are on disk; now it is made to count. */
  async #publish(from: string, id: string, bundles: readonly PackedBundle[]): Promise<void> {
    await writeSynced(`${from}.index`, encodeIndex(bundles), this.#disk);
    await this.#disk.rename(`${from}.pack`, join(this.#packs, `${id}.pack`));
    await this.#disk.rename(`${from}.index`, join(this.#packs, `${id}.index`));
    await sync(this.#packs, this.#disk);
  }

  async #salvage(folder: string, id: string): Promise<void> {
    const from = join(folder, id);
    const bundles = await this.#cutUnfinished(`${from}.pack`);
    if (bundles.length > 0) await this.#publish(from, id, bundles);
  }

  async #cutUnfinished(pack: string): Promise<PackedBundle[]> {
    await using file = closing(await this.#disk.open(pack, 'r+'));
    const bundles = await walkUnfinished(file);
    const last = bundles.at(-1);
    if (last === undefined) return [];
    await file.truncate(last.offset + last.bytes);
    await file.sync();
    return bundles;
  }

  /** Its pack has moved already; only the index was left to. */
  async #salvageIndex(folder: string, name: string): Promise<void> {
    await unlessGone(this.#disk.rename(join(folder, name), join(this.#packs, name)), undefined);
    await sync(this.#packs, this.#disk);
  }
}
