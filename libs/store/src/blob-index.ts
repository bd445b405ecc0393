/**
 * Which pack a blob is in, for all packs of the store, in memory: two million in 110 to 160 MB. Several
 * processes write packs; each learns of the others' when it refreshes. A copy that is known to be damaged counts as none.
 */
import { join } from 'node:path';
import { release } from '@lab/process/release';
import { isDone, readThrough, replaceFile, replaceRecord, unlessGone, unlessTrouble, unseal } from './durable.ts';
import type { Disk, DiskFile } from './disk.ts';
import { MalformedBundleError } from './bundle.ts';
import { HashTable } from './hash-table.ts';
import { decodeIndex, encodeIndex, readBundle, walkPack, type PackedBundle } from './pack-index.ts';

/** Sweeps say which packs they have removed, so that nobody takes these for lost; the last of them, for who has long not looked. */
const sweptMax = 1_000;
/** Begins the mark of a version of which nobody knows what it needs. */
const unknownMark = 'unknown-';
/** Of indexes that are kept, for reading: of three packs of tiny blobs, of which a reader goes through two at a time. */
const indexBytesMax = 8 * 1024 * 1024;

/** More than the largest blob has bytes. */
const sizeUnit = 2 ** 23;
/** More than a pack has bytes. */
const offsetUnit = 2 ** 32;

/** What is known of all packs; made anew aside, and put in place as a whole. */
interface Known {
  names: string[];
  /** Of all packs. */
  bytes: number;
  numberOf: Map<string, number>;
  /** Of each bundle its pack's number, times `offsetUnit`, and its offset. */
  bundles: number[];
  /** Of each blob its bundle's number, times `sizeUnit`, and its size. */
  placeOf: HashTable;
  /** The marks that it was made by, `<pack>-<hash>`. */
  marks: ReadonlySet<string>;
}

const nothing = (marks: ReadonlySet<string>): Known => ({
  names: [],
  bytes: 0,
  numberOf: new Map(),
  bundles: [],
  placeOf: new HashTable(),
  marks,
});

/** Of a blob. */
export interface Place {
  pack: string;
  /** Of its bundle. */
  offset: number;
}

/** That they take in memory: an object of each, and their headers. */
const bytesOf = (bundles: readonly PackedBundle[]): number =>
  bundles.reduce((sum, { headerBytes }) => sum + 200 + headerBytes.length, 0);

export class BlobIndex {
  readonly #disk: Disk;
  readonly #packs: string;
  readonly #onDamage: (what: string) => void;
  readonly #damaged: string;
  readonly #sweptFile: string;
  #known = nothing(new Set());
  /** While it is made. */
  #anew: Known | undefined;
  /** Grows with every pack that goes and that no sweep has removed, and with every change of what is known to be damaged. */
  changes = 0;
  #marks = new Set<string>();
  /** Those of its own that the disk would not take. */
  readonly #unwritten = new Set<string>();
  /** Indexes that were found damaged, until a scrub reports them, and whether they could be put right. */
  readonly damagedIndexes = new Map<string, boolean>();
  /** What is known lacks copies that there are. */
  #isStale = false;
  readonly #indexes = new Map<string, PackedBundle[]>();
  #indexBytes = 0;
  /** How the folders looked before they were listed last. */
  #look: string | undefined;
  #lastRefresh: Promise<void> = Promise.resolve();
  /** One that has not begun: who asks for one now is served by it. */
  #nextRefresh: Promise<void> | undefined;

  constructor(directory: string, disk: Disk, onDamage: (what: string) => void) {
    this.#disk = disk;
    this.#onDamage = onDamage;
    this.#packs = join(directory, 'packs');
    this.#damaged = join(directory, 'damaged');
    this.#sweptFile = join(directory, 'swept');
  }

  has(hash: string): boolean {
    return this.#known.placeOf.has(hash);
  }

  /** The pack of a blob, and where its bundle begins in it. */
  placeOf(hash: string): Place | undefined {
    const { names, bundles, placeOf } = this.#known;
    const place = placeOf.get(hash);
    if (place === undefined) return undefined;
    const bundle = bundles[Math.floor(place / sizeUnit)]!;
    return { pack: names[Math.floor(bundle / offsetUnit)]!, offset: bundle % offsetUnit };
  }

  packOf(hash: string): string | undefined {
    return this.placeOf(hash)?.pack;
  }

  /** Bytes of a blob. */
  sizeOf(hash: string): number | undefined {
    const place = this.#known.placeOf.get(hash);
    return place === undefined ? undefined : place % sizeUnit;
  }

  get packs(): readonly string[] {
    return [...this.#known.numberOf.keys()];
  }

  /** Of all packs, without what no index names. */
  get bytes(): number {
    return this.#known.bytes;
  }

  /** Of which a copy is marked. */
  damagedHashes(): Set<string> {
    return new Set([...this.#marks].map((mark) => mark.slice(mark.indexOf('-') + 1)));
  }

  isMarked(pack: string, hash: string): boolean {
    return this.#marks.has(`${pack}-${hash}`);
  }

  /**
   * Takes in what other processes have added and removed; the look at the folder is one that begins after this call. One at a
   * time.
   */
  refresh(): Promise<void> {
    this.#nextRefresh ??= this.#lastRefresh.then(() => {
      this.#nextRefresh = undefined;
      const refresh = this.#refresh();
      this.#lastRefresh = refresh.catch(() => undefined);
      return refresh;
    });
    return this.#nextRefresh;
  }

  /** Whether the folders look as if somebody had changed them since: not what was within a tick of the disk's clock. */
  async looksChanged(): Promise<boolean> {
    const look = await this.#lookNow();
    return look === undefined || look !== this.#look;
  }

  async #lookNow(): Promise<string | undefined> {
    const looks = async (): Promise<string> =>
      `${(await this.#disk.stat(this.#packs)).mtimeMs} ${(await this.#disk.stat(this.#damaged)).mtimeMs}`;
    return unlessTrouble(unlessGone(looks(), undefined), undefined);
  }

  add(pack: string, bundles: readonly PackedBundle[]): void {
    this.#addTo(this.#known, pack, bundles);
    if (this.#anew !== undefined) this.#addTo(this.#anew, pack, bundles);
  }

  /** Remembers that this copy is damaged, for all processes and until it is gone. Another copy is found at the next refresh. */
  async mark(pack: string, hash: string): Promise<void> {
    if (!this.isMarked(pack, hash)) this.#onDamage(`blob ${hash} in packs/${pack}.pack is damaged, or gone`);
    await this.#writeMark(`${pack}-${hash}`);
    if (this.packOf(hash) === pack) this.#known.placeOf.delete(hash);
    this.changes++;
  }

  /**
   * Remembers that nobody knows what a version needs; since when that is so, in ms since 1970, or `Infinity` where the disk does
   * not keep it.
   */
  async markUnknown(version: string): Promise<number> {
    const name = `${unknownMark}${version}`;
    if (!this.#marks.has(name)) await this.#writeMark(name);
    return (
      (await unlessTrouble(unlessGone(this.#disk.stat(join(this.#damaged, name)), undefined), undefined))?.mtimeMs ?? Infinity
    );
  }

  /** Whether a version is marked so, as of the last refresh. */
  isUnknown(version: string): boolean {
    return this.#marks.has(`${unknownMark}${version}`);
  }

  /** This copy is sound after all. */
  async unmark(pack: string, hash: string): Promise<void> {
    if (this.isMarked(pack, hash)) await this.#removeMark(`${pack}-${hash}`);
  }

  /** Forgets marks of packs that are gone, and of versions other than these. */
  async sweepMarks(unknown: ReadonlySet<string>): Promise<void> {
    for (const mark of [...this.#marks]) {
      const stays = mark.startsWith(unknownMark)
        ? unknown.has(mark.slice(unknownMark.length))
        : this.#known.numberOf.has(mark.slice(0, mark.indexOf('-')));
      if (!stays) await this.#removeMark(mark);
    }
  }

  /** Says, before they go, that these packs are needed by nothing. Where it cannot be said others look again what is missing. */
  async noteSwept(packs: readonly string[]): Promise<void> {
    const swept = [...(await this.#swept()), ...packs].slice(-sweptMax);
    await isDone(replaceRecord(this.#sweptFile, swept, this.#disk));
  }

  async #swept(): Promise<Set<string>> {
    return new Set(unseal((await readThrough(this.#sweptFile, this.#disk)) ?? Buffer.alloc(0))?.value as string[] | undefined);
  }

  /** The bundle at a place; `undefined` where there is none any more. */
  async find({ pack, offset }: Place): Promise<PackedBundle | undefined> {
    let bundles = this.#indexes.get(pack);
    if (bundles === undefined) {
      bundles = await this.bundlesOf(pack);
      // Others may have read it meanwhile.
      if (!this.#indexes.has(pack)) this.#indexBytes += bytesOf(bundles);
      this.#indexes.set(pack, bundles);
      for (const [oldest, its] of this.#indexes) {
        if (this.#indexBytes <= indexBytesMax || oldest === pack) break;
        this.#indexes.delete(oldest);
        this.#indexBytes -= bytesOf(its);
      }
    }
    return bundles.find((bundle) => bundle.offset === offset);
  }

  /** The bytes of a bundle of a pack: its header as the index has it, its payload unchecked, and 0 where it cannot be read or is cut off. */
  async read(file: DiskFile, bundle: PackedBundle): Promise<Buffer> {
    const read = await readBundle(file, bundle);
    const bytes = read.length === bundle.bytes ? read : Buffer.concat([read], bundle.bytes);
    bundle.headerBytes.copy(bytes);
    return bytes;
  }

  /** A pack, to be read; `undefined` where it has been removed, or cannot be opened. */
  open(pack: string): Promise<DiskFile | undefined> {
    return unlessTrouble(unlessGone(this.#disk.open(join(this.#packs, `${pack}.pack`), 'r'), undefined), undefined);
  }

  /** What is in a pack. A damaged index is made anew from the pack. */
  async bundlesOf(pack: string): Promise<PackedBundle[]> {
    const bytes = await readThrough(join(this.#packs, `${pack}.index`), this.#disk);
    if (bytes === undefined) return [];
    try {
      return decodeIndex(bytes);
    } catch (error) {
      if (!(error instanceof MalformedBundleError)) throw error;
      return this.repairIndex(pack);
    }
  }

  /** Makes the index of a pack from the pack; nothing where there is no pack, or where it cannot be opened. */
  async repairIndex(pack: string): Promise<PackedBundle[]> {
    const file = await this.open(pack);
    if (file === undefined) return [];
    try {
      let isWhole = true;
      const bundles = await walkPack(file, () => (isWhole = false));
      const path = join(this.#packs, `${pack}.index`);
      // What cannot be read now may be read another time: then the old one is worth more.
      const write = async (): Promise<boolean> => {
        if (!isWhole && (await unlessGone(this.#disk.stat(path), undefined)) !== undefined) return false;
        await replaceFile(path, encodeIndex(bundles), this.#disk);
        return true;
      };
      this.damagedIndexes.set(pack, await unlessTrouble(write(), false));
      if (!isWhole) this.#keepOnly(pack, bundles);
      return bundles;
    } finally {
      await file.close();
    }
  }

  /** Of a pack there is no more than this, neither in it nor in its index; other packs may have copies. */
  #keepOnly(pack: string, bundles: readonly PackedBundle[]): void {
    const { bundles: all, numberOf, placeOf } = this.#known;
    const number = numberOf.get(pack);
    const { size } = placeOf;
    placeOf.deleteWhere((place) => Math.floor(all[Math.floor(place / sizeUnit)]! / offsetUnit) === number);
    if (number !== undefined) this.#addTo(this.#known, pack, bundles);
    if (placeOf.size === size) return;
    this.changes++;
    this.#isStale = true;
  }

  async #refresh(): Promise<void> {
    this.#look = await this.#lookNow();
    const there = await this.#listed();
    const written = await unlessTrouble(unlessGone(this.#disk.readdir(this.#damaged), []), this.#marks);
    const marks = new Set([...written, ...this.#unwritten]);
    this.#marks = marks;
    const gone = [...this.#known.numberOf.keys()].filter((pack) => !there.has(pack));
    const others = [...marks].filter((mark) => !this.#known.marks.has(mark));
    const isSame = gone.length + others.length === 0 && marks.size === this.#known.marks.size;
    if (isSame && !this.#isStale) return this.#load(this.#known, there);
    this.#isStale = false;
    const swept = gone.length === 0 ? new Set() : await this.#swept();
    const anew = (this.#anew = nothing(new Set(marks)));
    try {
      await this.#load(anew, there);
      this.#indexes.clear();
      this.#indexBytes = 0;
      const before = this.#known;
      this.#known = anew;
      if (marks.size !== before.marks.size || others.length > 0 || gone.some((pack) => !swept.has(pack))) this.changes++;
    } finally {
      this.#anew = undefined;
    }
  }

  /** An index whose pack is gone says nothing: after a power cut either may be there without the other. */
  async #listed(): Promise<Set<string>> {
    const names = new Set(await this.#disk.readdir(this.#packs));
    const packs = [...names].filter((name) => name.endsWith('.pack')).map((name) => name.slice(0, -'.pack'.length));
    return new Set(packs.filter((pack) => names.has(`${pack}.index`)));
  }

  async #load(known: Known, packs: ReadonlySet<string>): Promise<void> {
    for (const pack of packs) {
      if (known.numberOf.has(pack)) continue;
      const bundles = await this.bundlesOf(pack);
      this.#addTo(known, pack, bundles);
      for (const { headerBytes } of bundles) release(headerBytes);
    }
  }

  #addTo(known: Known, pack: string, bundles: readonly PackedBundle[]): void {
    const there = known.numberOf.get(pack);
    const number = there ?? known.names.push(pack) - 1;
    known.numberOf.set(pack, number);
    for (const bundle of bundles) {
      if (there === undefined) known.bytes += bundle.bytes;
      const place = (known.bundles.push(number * offsetUnit + bundle.offset) - 1) * sizeUnit;
      for (const { hash, bytes } of bundle.header.blobs)
        if (this.#marks.size === 0 || !this.isMarked(pack, hash)) known.placeOf.set(hash, place + bytes);
    }
  }

  async #writeMark(name: string): Promise<void> {
    if (!(await isDone(this.#disk.writeFile(join(this.#damaged, name), '')))) this.#unwritten.add(name);
    this.#marks.add(name);
  }

  async #removeMark(mark: string): Promise<void> {
    await isDone(this.#disk.rm(join(this.#damaged, mark), { force: true }));
    this.#unwritten.delete(mark);
    this.#marks.delete(mark);
    this.changes++;
  }
}
