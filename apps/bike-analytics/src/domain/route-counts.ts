/**
 * Counts trips by route: start, end and year. It costs what the memory costs that a trip touches, so there are two kinds, both small and by year,
 * as trips come by year:
 *
 * - a matrix for stations numbered below 1024, which is all of a city in use: about 20 ns a trip
 * - an open-addressing hash table for whatever there is besides, so that no input is too odd: about 50 ns
 *
 * A `Map` takes about ten times the memory, and several times as long.
 */

/** A power of two. 4 MB a matrix, of which the operating system provides only the pages in use. */
const matrixSide = 1024;
/** A matrix begins with so many rows, 64 KB: what has few stations needs no more, and is spared the making of 4 MB. */
const rowsAtFirst = 16;
/** 32 MB in all; years beyond these are in hash tables alone. The public data set has four. */
const matricesMax = 8;
/** Words of a slot: start, end, trips. A slot without trips is free. */
const slotWords = 3;
const slotsAtFirst = 256;
/** Fuller than this, runs of taken slots get long. */
const loadMax = 0.75;
/** In hash tables at most 32 bytes each just after a growth, 128 MB in all: with the matrices what fits in a role of 300 MB. */
const routesMax = 4_000_000;

/** Counts of trips by route. */
export class RouteCounts {
  readonly #years = new Map<number, YearCounts>();
  #lastYear = NaN;
  #last = new YearCounts(false);
  #size = 0;

  /** Number of different routes. */
  get size(): number {
    return this.#size;
  }

  /** Adds one trip; all three are 32-bit integers. With more than 4 million routes it throws, now and ever after. */
  add(start: number, end: number, year: number): void {
    if (this.#size > routesMax)
      throw new RangeError(`more than ${routesMax} routes (start, end, year) in one session; split the input`);
    if (year !== this.#lastYear) this.#turnTo(year);
    if (this.#last.add(start, end)) this.#size += 1;
  }

  #turnTo(year: number): void {
    this.#last = this.#years.get(year) ?? new YearCounts(this.#years.size < matricesMax);
    this.#years.set(year, this.#last);
    this.#lastYear = year;
  }

  /** Calls `visit` once for every route, in no particular order. */
  forEach(visit: (start: number, end: number, year: number, trips: number) => void): void {
    for (const [year, counts] of this.#years) counts.forEach((start, end, trips) => visit(start, end, year, trips));
  }
}

class YearCounts {
  /** Trips from start to end at start * side + end. */
  #matrix = new Int32Array();
  /** Starts below it have a row. */
  #rows = 0;
  readonly #rowsMax: number;
  readonly #others = new HashedCounts();

  constructor(hasMatrix: boolean) {
    this.#rowsMax = hasMatrix ? matrixSide : 0;
  }

  /** Adds one trip; says whether the route is new. */
  add(start: number, end: number): boolean {
    // Both are from 0 to 1023 if no higher bit is set in either.
    if ((start | end) >>> 0 >= this.#rowsMax) return this.#others.add(start, end);
    if (start >= this.#rows) this.#grow(start < rowsAtFirst ? rowsAtFirst : matrixSide);
    const at = start * matrixSide + end;
    this.#matrix[at]! += 1;
    return this.#matrix[at] === 1;
  }

  #grow(rows: number): void {
    const old = this.#matrix;
    this.#matrix = new Int32Array(rows * matrixSide);
    this.#matrix.set(old);
    this.#rows = rows;
  }

  forEach(visit: (start: number, end: number, trips: number) => void): void {
    this.#matrix.forEach((trips, at) => {
      if (trips > 0) visit(Math.floor(at / matrixSide), at % matrixSide, trips);
    });
    this.#others.forEach(visit);
  }
}

class HashedCounts {
  #slots = new Int32Array(slotsAtFirst * slotWords);
  #mask = slotsAtFirst - 1;
  #free = slotsAtFirst * loadMax;

  /** Adds one trip; says whether the route is new. */
  add(start: number, end: number): boolean {
    const at = this.#find(start, end);
    if (this.#slots[at + 2]! > 0) {
      this.#slots[at + 2]! += 1;
      return false;
    }
    this.#put(at, start, end, 1);
    if (this.#free === 0) this.#grow();
    return true;
  }

  forEach(visit: (start: number, end: number, trips: number) => void): void {
    const slots = this.#slots;
    for (let at = 0; at < slots.length; at += slotWords) {
      if (slots[at + 2]! > 0) visit(slots[at]!, slots[at + 1]!, slots[at + 2]!);
    }
  }

  /** Where the route is, or the free slot where it would be: linear probing from the place that its hash names. */
  #find(start: number, end: number): number {
    const slots = this.#slots;
    const mask = this.#mask;
    // Multiplicative hashing (Knuth, The Art of Computer Programming 6.4): odd factors with well-spread bits, and the top bits of
    // the product, which depend on all bits below: as many of them as the mask has.
    const hash = Math.imul(start, 0x9e3779b1) + Math.imul(end, 0x85ebca6b);
    let slot = (hash | 0) >>> Math.clz32(mask);
    for (;;) {
      const at = slot * slotWords;
      if (slots[at + 2]! === 0 || (slots[at] === start && slots[at + 1] === end)) return at;
      slot = (slot + 1) & mask;
    }
  }

  #put(at: number, start: number, end: number, trips: number): void {
    this.#slots[at] = start;
    this.#slots[at + 1] = end;
    this.#slots[at + 2] = trips;
    this.#free -= 1;
  }

  #grow(): void {
    const old = this.#slots;
    const slotCount = (this.#mask + 1) * 2;
    this.#slots = new Int32Array(slotCount * slotWords);
    this.#mask = slotCount - 1;
    this.#free = slotCount * loadMax;
    for (let at = 0; at < old.length; at += slotWords) {
      if (old[at + 2]! > 0) this.#put(this.#find(old[at]!, old[at + 1]!), old[at]!, old[at + 1]!, old[at + 2]!);
    }
  }
}
