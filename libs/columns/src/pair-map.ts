/** Words of a slot: the pair, and its value. A slot of value 0 is free. */
const slotWords = 3;
/** Fuller than this, runs of taken slots get long. */
const loadMax = 0.75;

/**
 * Whole numbers by pairs of whole numbers, all of 32 bits: an open-addressing hash table in one typed array, at most 32 bytes for each pair just after it
 * has grown. A `Map` takes about ten times the memory, and several times as long. A value of 0 is the same as none.
 */
export class PairMap {
  #slots: Int32Array;
  #mask: number;
  #free: number;

  /** With room for three quarters of so many slots, a power of two, before it grows. */
  constructor(slotsAtFirst = 256) {
    this.#slots = new Int32Array(slotsAtFirst * slotWords);
    this.#mask = slotsAtFirst - 1;
    this.#free = slotsAtFirst * loadMax;
  }

  /** Number of different pairs. */
  get size(): number {
    return (this.#mask + 1) * loadMax - this.#free;
  }

  /** The pair's value; 0 if it has none. */
  get(a: number, b: number): number {
    return this.#slots[this.#find(a, b) + 2]!;
  }

  /** Adds to the pair's value, which must not become 0, and returns what it is then. */
  add(a: number, b: number, by: number): number {
    const at = this.#find(a, b);
    const value = this.#slots[at + 2]! + by;
    if (value === by) this.#put(at, a, b, by);
    else this.#slots[at + 2] = value;
    return value;
  }

  /** Calls `visit` once for every pair, in no particular order. */
  forEach(visit: (a: number, b: number, value: number) => void): void {
    const slots = this.#slots;
    for (let at = 0; at < slots.length; at += slotWords) {
      if (slots[at + 2] !== 0) visit(slots[at]!, slots[at + 1]!, slots[at + 2]!);
    }
  }

  /** Forgets all pairs, and keeps its room. */
  clear(): void {
    this.#slots.fill(0);
    this.#free = (this.#mask + 1) * loadMax;
  }

  /** Where the pair is, or the free slot where it would be: linear probing from the place that its hash names. */
  #find(a: number, b: number): number {
    const slots = this.#slots;
    const mask = this.#mask;
    // Multiplicative hashing (Knuth, The Art of Computer Programming 6.4): odd factors with well-spread bits, and the top bits of
    // the product, which depend on all bits below: as many of them as the mask has.
    const hash = Math.imul(a, 0x9e3779b1) + Math.imul(b, 0x85ebca6b);
    let slot = (hash | 0) >>> Math.clz32(mask);
    for (;;) {
      const at = slot * slotWords;
      if (slots[at + 2] === 0 || (slots[at] === a && slots[at + 1] === b)) return at;
      slot = (slot + 1) & mask;
    }
  }

  #put(at: number, a: number, b: number, value: number): void {
    this.#slots[at] = a;
    this.#slots[at + 1] = b;
    this.#slots[at + 2] = value;
    this.#free -= 1;
    if (this.#free === 0) this.#grow();
  }

  #grow(): void {
    const old = this.#slots;
    const slotCount = 2 * (this.#mask + 1);
    this.#slots = new Int32Array(slotCount * slotWords);
    this.#mask = slotCount - 1;
    this.#free = slotCount * loadMax;
    for (let at = 0; at < old.length; at += slotWords) {
      if (old[at + 2] !== 0) this.#put(this.#find(old[at]!, old[at + 1]!), old[at]!, old[at + 1]!, old[at + 2]!);
    }
  }
}
