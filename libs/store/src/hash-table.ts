import { release } from '@lab/process/release';

/**
 * A map from SHA-256, in hex, to a number from 0. It lies in arrays of bytes: a slot takes 40, and at least a quarter of the slots, and at
 * most half, is empty: a million hashes take 53 to 80 MB; in a `Map` of strings they take 150. It is in parts, by the last bits of a
 * hash, of which one grows at a time: two tables of all are never there. And glibc keeps for itself, from then on, twice as much as the
 * largest piece of memory, up to 32 MB, that was given back.
 */

const [empty, gone] = [-1, -2];
const slotsMin = 16;
const words = 8;
/** A power of two. */
const partCount = 64;

export class HashTable {
  readonly #wanted = Buffer.alloc(4 * words);
  readonly #wantedWords = new Uint32Array(this.#wanted.buffer, this.#wanted.byteOffset, words);
  readonly #parts: Part[] = [];

  get size(): number {
    return this.#parts.reduce((sum, part) => sum + part.size, 0);
  }

  has(hash: string): boolean {
    return this.get(hash) !== undefined;
  }

  get(hash: string): number | undefined {
    return this.#partOf(hash).get();
  }

  set(hash: string, value: number): void {
    this.#partOf(hash).set(value);
  }

  delete(hash: string): void {
    this.#partOf(hash).delete();
  }

  /** Takes out every hash of such a value. */
  deleteWhere(isGone: (value: number) => boolean): void {
    this.#parts.forEach((part) => part.deleteWhere(isGone));
  }

  /** Gives every hash in it a value anew. */
  update(valueOf: (hash: string) => number): void {
    this.#parts.forEach((part) => part.update(valueOf));
  }

  #partOf(hash: string): Part {
    this.#wanted.write(hash, 'hex');
    return (this.#parts[this.#wanted.at(-1)! % partCount] ??= new Part(this.#wantedWords));
  }
}

/** Hashes whose last bits are the same; the one that is meant is in `wanted`. */
class Part {
  #keys = new Uint32Array(slotsMin * words);
  #values = new Float64Array(slotsMin).fill(empty);
  /** Slots that are not empty: those of what was deleted, too. */
  #used = 0;
  #size = 0;
  readonly #wanted: Uint32Array;

  constructor(wanted: Uint32Array) {
    this.#wanted = wanted;
  }

  get size(): number {
    return this.#size;
  }

  get(): number | undefined {
    const value = this.#values[this.#find()]!;
    return value >= 0 ? value : undefined;
  }

  set(value: number): void {
    if (this.#used >= this.#values.length * 0.75) this.#grow();
    const slot = this.#find();
    if (this.#values[slot] === empty) {
      this.#keys.set(this.#wanted, slot * words);
      this.#used++;
      this.#size++;
    }
    this.#values[slot] = value;
  }

  delete(): void {
    const slot = this.#find();
    if (this.#values[slot] === empty) return;
    this.#values[slot] = gone;
    this.#size--;
  }

  deleteWhere(isGone: (value: number) => boolean): void {
    for (let slot = 0; slot < this.#values.length; slot++) {
      if (this.#values[slot]! < 0 || !isGone(this.#values[slot]!)) continue;
      this.#values[slot] = gone;
      this.#size--;
    }
  }

  update(valueOf: (hash: string) => number): void {
    const keys = Buffer.from(this.#keys.buffer);
    const bytes = 4 * words;
    for (let slot = 0; slot < this.#values.length; slot++)
      if (this.#values[slot]! >= 0) this.#values[slot] = valueOf(keys.toString('hex', slot * bytes, (slot + 1) * bytes));
  }

  /** Where it is, or may be put. A hash is as good as random: its first bits say where to begin. */
  #find(): number {
    let slot = this.#first(this.#wanted[0]!);
    while (this.#values[slot] !== empty && !this.#isAt(slot)) slot = this.#after(slot);
    return slot;
  }

  #first(word: number): number {
    return Math.floor((word / 2 ** 32) * this.#values.length);
  }

  #after(slot: number): number {
    return slot + 1 === this.#values.length ? 0 : slot + 1;
  }

  #isAt(slot: number): boolean {
    if (this.#values[slot] === gone) return false;
    for (let word = 0; word < words; word++) if (this.#keys[slot * words + word] !== this.#wanted[word]) return false;
    return true;
  }

  #grow(): void {
    const [keys, values] = [this.#keys, this.#values];
    const slots = this.#size * 2 > values.length ? Math.ceil(values.length * 1.5) : values.length;
    this.#keys = new Uint32Array(slots * words);
    this.#values = new Float64Array(slots).fill(empty);
    this.#used = this.#size;
    for (let from = 0; from < values.length; from++) {
      if (values[from]! < 0) continue;
      let slot = this.#first(keys[from * words]!);
      while (this.#values[slot] !== empty) slot = this.#after(slot);
      this.#keys.set(keys.subarray(from * words, (from + 1) * words), slot * words);
      this.#values[slot] = values[from]!;
    }
    release(keys);
    release(values);
  }
}
