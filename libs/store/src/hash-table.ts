import { release } from '@lab/process/release';

/**
 * A map from SHA-256, in hex, to a number from 0. It lies in two arrays of bytes: a slot takes 40, and at least a quarter of the slots, and at
 * most half, is empty: a million hashes take 53 to 80 MB; in a `Map` of strings they take 150.
 */

const [empty, gone] = [-1, -2];
const slotsMin = 1024;
const words = 8;

export class HashTable {
  #keys = new Uint32Array(slotsMin * words);
  #values = new Float64Array(slotsMin).fill(empty);
  /** Slots that are not empty: those of what was deleted, too. */
  #used = 0;
  #size = 0;
  readonly #wanted = Buffer.alloc(4 * words);
  readonly #wantedWords = new Uint32Array(this.#wanted.buffer, this.#wanted.byteOffset, words);

  get size(): number {
    return this.#size;
  }

  has(hash: string): boolean {
    return this.get(hash) !== undefined;
  }

  get(hash: string): number | undefined {
    const value = this.#values[this.#find(hash)]!;
    return value >= 0 ? value : undefined;
  }

  set(hash: string, value: number): void {
    if (this.#used >= this.#values.length * 0.75) this.#grow();
    const slot = this.#find(hash);
    if (this.#values[slot] === empty) {
      this.#keys.set(this.#wantedWords, slot * words);
      this.#used++;
      this.#size++;
    }
    this.#values[slot] = value;
  }

  delete(hash: string): void {
    const slot = this.#find(hash);
    if (this.#values[slot] === empty) return;
    this.#values[slot] = gone;
    this.#size--;
  }

  /** Takes out every hash of such a value. */
  deleteWhere(isGone: (value: number) => boolean): void {
    for (let slot = 0; slot < this.#values.length; slot++) {
      if (this.#values[slot]! < 0 || !isGone(this.#values[slot]!)) continue;
      this.#values[slot] = gone;
      this.#size--;
    }
  }

  /** Gives every hash in it a value anew. */
  update(valueOf: (hash: string) => number): void {
    const keys = Buffer.from(this.#keys.buffer);
    const bytes = 4 * words;
    for (let slot = 0; slot < this.#values.length; slot++)
      if (this.#values[slot]! >= 0) this.#values[slot] = valueOf(keys.toString('hex', slot * bytes, (slot + 1) * bytes));
  }

  /** Where it is, or may be put. A hash is as good as random: its first bits say where to begin. */
  #find(hash: string): number {
    this.#wanted.write(hash, 'hex');
    let slot = this.#first(this.#wantedWords[0]!);
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
    for (let word = 0; word < words; word++) if (this.#keys[slot * words + word] !== this.#wantedWords[word]) return false;
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
