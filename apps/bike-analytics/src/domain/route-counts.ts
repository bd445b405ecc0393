/**
 * Counts trips by route: start, end and year. It costs what the memory costs that a trip touches, so there are two kinds, both small and by year,
 * as trips come by year:
 *
 * - a row of counts by end for each station numbered below 1024, which is all of a city in use: about 20 ns a trip
 * - a `PairMap` for whatever there is besides, so that no input is too odd: about 50 ns
 */
import { PairMap } from '@lab/columns';

/** Stations in rows; 4 KB a row, 4 MB a year. */
const rowLength = 1024;
/** 32 MB in all; years beyond these are in a `PairMap` alone. The public data set has four. */
const yearsInRowsMax = 8;
/** 128 MB in `PairMap`s at most: with the rows what fits in a role of 300 MB. */
const routesMax = 4_000_000;

/** Counts of trips by route. */
export class RouteCounts {
  /** In no particular order. */
  readonly years = new Map<number, YearCounts>();
  #lastYear = NaN;
  #last = new YearCounts(0);
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
    if (this.#last.add(start, end) === 1) this.#size += 1;
  }

  #turnTo(year: number): void {
    this.#last = this.years.get(year) ?? new YearCounts(this.years.size < yearsInRowsMax ? rowLength : 0);
    this.years.set(year, this.#last);
    this.#lastYear = year;
  }
}

/** The routes of a year. */
class YearCounts {
  readonly #rows: (Int32Array | undefined)[];
  readonly #others = new PairMap();

  constructor(rows: number) {
    this.#rows = new Array<Int32Array | undefined>(rows).fill(undefined);
  }

  /** Adds one trip, and returns how many there are of its route. */
  add(start: number, end: number): number {
    // Both are from 0 to 1023 if no higher bit is set in either.
    if ((start | end) >>> 0 >= this.#rows.length) return this.#others.add(start, end, 1);
    const row = (this.#rows[start] ??= new Int32Array(rowLength));
    return ++row[end]!;
  }

  /** Calls `visit` once for every route, in no particular order. */
  forEach(visit: (start: number, end: number, trips: number) => void): void {
    this.#rows.forEach((row, start) => row?.forEach((trips, end) => trips > 0 && visit(start, end, trips)));
    this.#others.forEach(visit);
  }
}
