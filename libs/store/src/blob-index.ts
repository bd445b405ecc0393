/**
 * Which pack a blob is in, for all packs of the store, in memory: two million in 110 to 220 MB. Several
 * processes write packs; each learns of the others' when it refreshes. A copy that is known to be damaged counts as none.
 */
import { join } from 'node:path';
import { isDone, readIfThere, replaceFile, unlessGone } from './durable.ts';
import type { Disk } from './disk.ts';
import { encodeHeader, MalformedBundleError } from './bundle.ts';
import { HashTable } from './hash-table.ts';
import { bytesOfBundle, decodeIndex, encodeIndex, readBundle, walkPack, type PackedBundle } from './pack-index.ts';

/** Where a blob is that no pack has: a version needs it, and it is gone. */
const nowhere = 'missing';
/** Blobs of which it is kept, for reading, in what bundle they are: some 150 bytes each. */
const parsedMax = 200_000;

/** More than the largest blob has bytes. */
const sizeUnit = 2 ** 23;

/** What is known of all packs; made anew aside, and put in place as a whole. */
interface Known {
  names: string[];
  /** Of all packs. */
  bytes: number;
  numberOf: Map<string, number>;
  /** Of each blob its pack's number, times `sizeUnit`, and its size. */
  placeOf: HashTable;
  /** The marks that it was made by, `<pack>-<hash>`. */
  marks: ReadonlySet<string>;
}

const nothing = (marks: ReadonlySet<string>): Known => ({
  names: [],
  bytes: 0,
  numberOf: new Map(),
  placeOf: new HashTable(),
  marks,
});

export class BlobIndex {
  readonly #disk: Disk;
  readonly #packs: string;
  readonly #damaged: string;
  #known = nothing(new Set());
  /** While it is made. */
  #anew: Known | undefined;
  /** How often packs went, or what is known to be damaged was another. */
  changes = 0;
  #marks = new Set<string>();
  /** Those of its own that the disk would not take. */
  readonly #unwritten = new Set<string>();
  #markedHashes = new Set<string>();
  /** Indexes that were found damaged, until a scrub reports them, and whether they could be put right. */
  readonly damagedIndexes = new Map<string, boolean>();
  readonly #parsed = new Map<string, Map<string, PackedBundle>>();
  #parsedBlobs = 0;
  #lastRefresh: Promise<void> = Promise.resolve();
  /** One that has not begun: who asks for one now is served by it. */
  #nextRefresh: Promise<void> | undefined;

  constructor(directory: string, disk: Disk) {
    this.#disk = disk;
    this.#packs = join(directory, 'packs');
    this.#damaged = join(directory, 'damaged');
  }

  has(hash: string): boolean {
    return this.#known.placeOf.has(hash);
  }

  packOf(hash: string): string | undefined {
    const place = this.#known.placeOf.get(hash);
    return place === undefined ? undefined : this.#known.names[Math.floor(place / sizeUnit)];
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

  /** Something was found damaged or missing, and is not known to be whole again. */
  get hasMarks(): boolean {
    return this.#marks.size > 0;
  }

  /** Whether a copy of it is known to be damaged, or all to be missing. */
  isKnownDamaged(hash: string): boolean {
    return this.#markedHashes.has(hash);
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

  add(pack: string, bundles: readonly PackedBundle[]): void {
    this.#addTo(this.#known, pack, bundles);
    if (this.#anew !== undefined) this.#addTo(this.#anew, pack, bundles);
  }

  /** Remembers that this copy is damaged, for all processes and until it is gone. Another copy is found at the next refresh. */
  async mark(pack: string | undefined, hash: string): Promise<void> {
    const name = `${pack ?? nowhere}-${hash}`;
    if (!(await isDone(this.#disk.writeFile(join(this.#damaged, name), '')))) this.#unwritten.add(name);
    this.#marks.add(name);
    this.changes++;
    this.#markedHashes.add(hash);
    if (pack !== undefined && this.packOf(hash) === pack) this.#known.placeOf.delete(hash);
  }

  /** This copy is sound after all. */
  async unmark(pack: string, hash: string): Promise<void> {
    if (this.isMarked(pack, hash)) await this.#removeMark(`${pack}-${hash}`);
  }

  /** Forgets marks of packs that are gone, of blobs that are there again, and of what no version needs any more. */
  async sweepMarks(isNeeded: (hash: string) => boolean): Promise<void> {
    for (const mark of [...this.#marks]) {
      const [pack, hash] = mark.split('-') as [string, string];
      const stays = pack === nowhere ? !this.has(hash) && isNeeded(hash) : this.#known.numberOf.has(pack);
      if (!stays) await this.#removeMark(mark);
    }
  }

  /** The bundle of a pack that a blob is in. */
  async find(pack: string, hash: string): Promise<PackedBundle | undefined> {
    let blobs = this.#parsed.get(pack);
    if (blobs === undefined) {
      const bundles = await this.bundlesOf(pack);
      blobs = new Map(bundles.flatMap((bundle) => bundle.header.blobs.map((blob) => [blob.hash, bundle] as const)));
      this.#parsed.set(pack, blobs);
      this.#parsedBlobs += blobs.size;
      for (const [oldest, { size }] of this.#parsed) {
        if (this.#parsedBlobs <= parsedMax || oldest === pack) break;
        this.#parsed.delete(oldest);
        this.#parsedBlobs -= size;
      }
    }
    return blobs.get(hash);
  }

  /**
   * The bytes of a bundle: its header as the index has it, its payload unchecked; `undefined` where its pack has been removed.
   */
  async read(pack: string, bundle: PackedBundle): Promise<Buffer | undefined> {
    const file = await unlessGone(this.#disk.open(join(this.#packs, `${pack}.pack`), 'r'), undefined);
    try {
      if (file === undefined) return undefined;
      const bytes = await readBundle(file, bundle);
      encodeHeader(bundle.header).copy(bytes);
      return bytes;
    } finally {
      await file?.close();
    }
  }

  /** What is in a pack. A damaged index is made anew from the pack. */
  async bundlesOf(pack: string): Promise<PackedBundle[]> {
    const bytes = await readIfThere(join(this.#packs, `${pack}.index`), this.#disk);
    if (bytes === undefined) return [];
    try {
      return decodeIndex(bytes);
    } catch (error) {
      if (!(error instanceof MalformedBundleError)) throw error;
      return this.repairIndex(pack);
    }
  }

  /** Makes the index of a pack from the pack; nothing where there is no pack. */
  async repairIndex(pack: string): Promise<PackedBundle[]> {
    const file = await unlessGone(this.#disk.open(join(this.#packs, `${pack}.pack`), 'r'), undefined);
    if (file === undefined) return [];
    try {
      const bundles = await walkPack(file);
      this.damagedIndexes.set(
        pack,
        await isDone(replaceFile(join(this.#packs, `${pack}.index`), encodeIndex(bundles), this.#disk)),
      );
      return bundles;
    } finally {
      await file.close();
    }
  }

  async #refresh(): Promise<void> {
    const there = await this.#listed();
    const marks = new Set([...(await unlessGone(this.#disk.readdir(this.#damaged), [])), ...this.#unwritten]);
    this.#marks = marks;
    this.#markedHashes = new Set([...marks].map((mark) => mark.slice(mark.indexOf('-') + 1)));
    const gone = [...this.#known.numberOf.keys()].some((pack) => !there.has(pack));
    const otherMarks = marks.size !== this.#known.marks.size || [...marks].some((mark) => !this.#known.marks.has(mark));
    if (!gone && !otherMarks) return this.#load(this.#known, there);
    this.changes++;
    const anew = (this.#anew = nothing(new Set(marks)));
    try {
      await this.#load(anew, there);
      this.#parsed.clear();
      this.#parsedBlobs = 0;
      this.#known = anew;
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
    for (const pack of packs) if (!known.numberOf.has(pack)) this.#addTo(known, pack, await this.bundlesOf(pack));
  }

  #addTo(known: Known, pack: string, bundles: readonly PackedBundle[]): void {
    let number = known.numberOf.get(pack);
    if (number === undefined) {
      number = known.names.push(pack) - 1;
      known.numberOf.set(pack, number);
      for (const bundle of bundles) known.bytes += bytesOfBundle(bundle);
    }
    for (const { header } of bundles)
      for (const { hash, bytes } of header.blobs)
        if (this.#marks.size === 0 || !this.isMarked(pack, hash)) known.placeOf.set(hash, number * sizeUnit + bytes);
  }

  async #removeMark(mark: string): Promise<void> {
    await isDone(this.#disk.rm(join(this.#damaged, mark), { force: true }));
    this.#unwritten.delete(mark);
    this.#marks.delete(mark);
    this.changes++;
  }
}
