/**
 * Counts trips by route: start, end and year. An open-addressing hash table over one typed array: a `Map` takes about ten times the
 * memory and several times as long per trip.
 */

/** Words of a slot: start, end, year, trips; a slot without trips is free. 16 bytes never straddle a line of the CPU's cache. */
const slotWords = 4;
const slotsAtFirst = 1024;
/** Fuller than this, runs of taken slots get long. */
const loadMax = 0.75;
/** 128 MB of slots, 192 MB while the last growth copies: what fits in a role of 300 MB. A thousand stations have a million routes a year. */
const slotsMax = 2 ** 23;

/** Routes are in no particular order. */
export class RouteCounts {
  #slots = new Int32Array(slotsAtFirst * slotWords);
  #shift = shiftFor(slotsAtFirst);
  #size = 0;

  /** Number of different routes. */
  get size(): number {
    return this.#size;
  }

  /** Adds one trip. Takes 32-bit integers; at most 6 million routes and 2^31 - 1 trips per route. */
  add(start: number, end: number, year: number): void {
    const slots = this.#slots;
    const at = this.#find(start, end, year);
    if (slots[at + 3]! === 0) {
      if (this.#size >= (slots.length / slotWords) * loadMax) {
        this.#grow();
        this.add(start, end, year);
        return;
      }
      slots[at] = start;
      slots[at + 1] = end;
      slots[at + 2] = year;
      this.#size += 1;
    }
    slots[at + 3]! += 1;
  }

  /** Calls `visit` once for every route. */
  forEach(visit: (start: number, end: number, year: number, trips: number) => void): void {
    const slots = this.#slots;
    for (let at = 0; at < slots.length; at += slotWords) {
      if (slots[at + 3]! > 0) visit(slots[at]!, slots[at + 1]!, slots[at + 2]!, slots[at + 3]!);
    }
  }

  /** Where the route is, or the free slot where it would be: linear probing from the place that its hash names. */
  #find(start: number, end: number, year: number): number {
    const slots = this.#slots;
    // Multiplicative hashing (Knuth): the top bits depend on every bit below. Each factor is an odd constant with well-spread bits.
    let hash = Math.imul(start, 0x9e3779b1) ^ Math.imul(year, 0x85ebca6b);
    hash = Math.imul(Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) + end, 0x297a2d39);
    let at = (hash >>> this.#shift) * slotWords;
    while (slots[at + 3]! !== 0 && (slots[at] !== start || slots[at + 1] !== end || slots[at + 2] !== year)) {
      at += slotWords;
      if (at === slots.length) at = 0;
    }
    return at;
  }

  #grow(): void {
    const old = this.#slots;
    const slotCount = (old.length / slotWords) * 2;
    if (slotCount > slotsMax)
      throw new RangeError(`more than ${this.#size} routes (start, end, year) in one session; split the input`);
    this.#slots = new Int32Array(slotCount * slotWords);
    this.#shift = shiftFor(slotCount);
    for (let at = 0; at < old.length; at += slotWords) {
      if (old[at + 3]! > 0) this.#slots.set(old.subarray(at, at + slotWords), this.#find(old[at]!, old[at + 1]!, old[at + 2]!));
    }
  }
}

/** A hash has 32 bits; of these the top ones number the slots, a power of two of them. */
function shiftFor(slotCount: number): number {
  return Math.clz32(slotCount) + 1;
}
