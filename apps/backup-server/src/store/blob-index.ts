/**
 * Which pack a blob is in, for all packs of the store, in memory: about 150 bytes a blob, so two million in 300 MB. Several processes write packs; each
 * learns of the others' when it refreshes. A copy that is known to be damaged counts as none.
 */
import { mkdir, open, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MalformedBundleError } from '../bundle.ts';
import { readIfThere, replaceDurably } from './durable.ts';
import { decodeIndex, encodeIndex, readBundle, walkPack, type PackedBundle } from './pack-index.ts';

/** Where a blob is that no pack has: a version needs it, and it is gone. */
const nowhere = 'missing';
/** Indexes of packs that are kept parsed, for reading: each about 100 KB. */
const parsedMax = 64;

export class BlobIndex {
  readonly #packs: string;
  readonly #damaged: string;
  #names: string[] = [];
  #numberOf = new Map<string, number>();
  #packOf = new Map<string, number>();
  /** `<pack>-<hash>`. */
  #marks = new Set<string>();
  #markedHashes = new Set<string>();
  /** Indexes that were found damaged and made anew, until a scrub reports them. */
  readonly repairedIndexes = new Set<string>();
  readonly #parsed = new Map<string, Map<string, PackedBundle>>();
  #refreshing: Promise<void> | undefined;

  constructor(directory: string) {
    this.#packs = join(directory, 'packs');
    this.#damaged = join(directory, 'damaged');
  }

  has(hash: string): boolean {
    return this.#packOf.has(hash);
  }

  packOf(hash: string): string | undefined {
    const number = this.#packOf.get(hash);
    return number === undefined ? undefined : this.#names[number];
  }

  get packs(): IterableIterator<string> {
    return this.#numberOf.keys();
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

  /** Takes in what other processes have added and removed. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = undefined));
    return this.#refreshing;
  }

  add(pack: string, bundles: readonly PackedBundle[]): void {
    let number = this.#numberOf.get(pack);
    if (number === undefined) {
      number = this.#names.push(pack) - 1;
      this.#numberOf.set(pack, number);
    }
    for (const { header } of bundles)
      for (const { hash } of header.blobs)
        if (this.#marks.size === 0 || !this.isMarked(pack, hash)) this.#packOf.set(hash, number);
  }

  /** Remembers that this copy is damaged, for all processes and until it is gone. */
  async mark(pack: string | undefined, hash: string): Promise<void> {
    const name = `${pack ?? nowhere}-${hash}`;
    await mkdir(this.#damaged, { recursive: true });
    await writeFile(join(this.#damaged, name), '');
    this.#marks.add(name);
    this.#markedHashes.add(hash);
    if (pack !== undefined && this.packOf(hash) === pack) this.#packOf.delete(hash);
  }

  /** Forgets marks of packs that are gone, and of blobs that are there again. */
  async sweepMarks(): Promise<void> {
    for (const mark of this.#marks) {
      const [pack, hash] = mark.split('-') as [string, string];
      if (pack === nowhere ? !this.has(hash) : this.#numberOf.has(pack)) continue;
      await rm(join(this.#damaged, mark), { force: true });
      this.#marks.delete(mark);
    }
    this.#markedHashes = hashesIn(this.#marks);
  }

  /** The bundle of a pack that a blob is in. */
  async find(pack: string, hash: string): Promise<PackedBundle | undefined> {
    let blobs = this.#parsed.get(pack);
    if (blobs === undefined) {
      const bundles = await this.bundlesOf(pack);
      blobs = new Map(bundles.flatMap((bundle) => bundle.header.blobs.map((blob) => [blob.hash, bundle] as const)));
      if (this.#parsed.size >= parsedMax) this.#parsed.delete(this.#parsed.keys().next().value!);
      this.#parsed.set(pack, blobs);
    }
    return blobs.get(hash);
  }

  /** The bytes of a bundle, header and payload, unchecked. */
  async read(pack: string, bundle: PackedBundle): Promise<Buffer> {
    const file = await open(join(this.#packs, `${pack}.pack`), 'r');
    try {
      return await readBundle(file, bundle);
    } finally {
      await file.close();
    }
  }

  /** What is in a pack. A damaged index is made anew from the pack. */
  async bundlesOf(pack: string): Promise<PackedBundle[]> {
    const bytes = await readIfThere(join(this.#packs, `${pack}.index`));
    if (bytes === undefined) return [];
    try {
      return decodeIndex(bytes);
    } catch (error) {
      if (!(error instanceof MalformedBundleError)) throw error;
      return this.repairIndex(pack).catch(() => []);
    }
  }

  async repairIndex(pack: string): Promise<PackedBundle[]> {
    const file = await open(join(this.#packs, `${pack}.pack`), 'r');
    try {
      const bundles = await walkPack(file);
      await replaceDurably(this.#packs, `${pack}.index`, encodeIndex(bundles));
      this.repairedIndexes.add(pack);
      return bundles;
    } finally {
      await file.close();
    }
  }

  async #refresh(): Promise<void> {
    const names = (await readdir(this.#packs)).filter((name) => name.endsWith('.index') && !name.startsWith('.'));
    const there = new Set(names.map((name) => name.slice(0, -'.index'.length)));
    const marks = new Set(await readdir(this.#damaged).catch(() => []));
    const gone = [...this.#numberOf.keys()].some((pack) => !there.has(pack));
    const newlyMarked = [...marks].some((mark) => !this.#marks.has(mark));
    this.#marks = marks;
    this.#markedHashes = hashesIn(marks);
    if (gone || newlyMarked) this.#forgetAll();
    for (const pack of there) if (!this.#numberOf.has(pack)) this.add(pack, await this.bundlesOf(pack));
  }

  #forgetAll(): void {
    this.#names = [];
    this.#numberOf = new Map();
    this.#packOf = new Map();
    this.#parsed.clear();
  }
}

const hashesIn = (marks: ReadonlySet<string>): Set<string> =>
  new Set([...marks].map((mark) => mark.slice(mark.indexOf('-') + 1)));
