/** Rows of trips on their way into columns. */
import { CodeNumbers, codeProblem } from './code-numbers.ts';
import type { CsvScanner } from './csv.ts';
import { dateBytes, DateReader, isDigit, readDuration, readYear, timeEnd, yearBytes } from './fields.ts';
import type { Table } from './table.ts';

const lf = 0x0a;
const cr = 0x0d;
const comma = 0x2c;
const point = 0x2e;
const zero = 0x30;

/** The columns, by their numbers. */
const columnNames = ['start_date', 'duration_sec', 'yearid', 'start_station_code', 'end_station_code'] as const;
const startDate = 0;
const duration = 1;
const year = 2;
const startCode = 3;
const endCode = 4;

/** So many digits fit into 32 bits. */
const secondsDigitsMax = 9;
const shortCodeBytesMax = 8;
/** A usual row has no more, and is then far from all limits of the scanner. */
const usualRowBytesMax = 1024;

/**
 * Takes rows in two ways. Nearly all are usual: a date with or without a time, whole seconds, short ASCII codes, no quotes. These are read in one go, without
 * looking for the fields first, in less than half the time. Whatever is not just like that is left to the careful way, which decides what it is.
 */
export class TripRows {
  readonly names = columnNames;
  readonly #dates = new DateReader();
  readonly #codes = new CodeNumbers();
  readonly #columns: Record<'day' | 'seconds' | 'micros' | 'start' | 'end' | 'year', Int32Array>;
  #rows = 0;
  /** What the usual way has read of a row: high and low words of the codes' keys. */
  readonly #keys = new Int32Array(4);

  /** `batchRows` is the most that come between two calls of `table`. */
  constructor(batchRows: number) {
    const column = () => new Int32Array(batchRows);
    this.#columns = { day: column(), seconds: column(), micros: column(), start: column(), end: column(), year: column() };
  }

  /** Takes usual rows, at most so many, up to one that is not, and returns their number. */
  takeUsual(csv: CsvScanner, rowsMax: number): number {
    const { bytes, layout } = csv;
    const first = this.#rows;
    let at = csv.usualFrom;
    if (at < 0) return 0;
    while (this.#rows - first < rowsMax) {
      const next = this.#readRow(bytes, at, layout);
      // An LF at the end is not one of the file: there the scanner has put one.
      if (next < 0 || next > csv.usualTo || next - at > usualRowBytesMax) break;
      this.#commit();
      at = next;
    }
    csv.passRows(this.#rows - first, at);
    return this.#rows - first;
  }

  /** Where the next row begins, if this one is usual; it is then in the columns, but not yet counted. Otherwise -1. */
  #readRow(bytes: Uint8Array, from: number, layout: Int8Array): number {
    let at = from;
    const last = layout.length - 1;
    for (let field = 0; field < last; field++) {
      at = this.#readField(bytes, at, layout[field]!);
      if (at < 0 || bytes[at] !== comma) return -1;
      at++;
    }
    at = this.#readField(bytes, at, layout[last]!);
    if (at < 0) return -1;
    if (bytes[at] === cr) at++;
    return bytes[at] === lf ? at + 1 : -1;
  }

  /** Where the field ends, or -1. */
  #readField(bytes: Uint8Array, at: number, column: number): number {
    switch (column) {
      case startDate:
        return this.#readDate(bytes, at);
      case duration:
        return this.#readDuration(bytes, at);
      case year:
        return this.#readYear(bytes, at);
      case startCode:
        return this.#readCode(bytes, at, 0);
      case endCode:
        return this.#readCode(bytes, at, 2);
      default:
        return endOfOther(bytes, at);
    }
  }

  #readDate(bytes: Uint8Array, at: number): number {
    const day = this.#dates.readDate(bytes, at);
    if (day === undefined) return -1;
    this.#columns.day[this.#rows] = day;
    return timeEnd(bytes, at + dateBytes);
  }

  #readDuration(bytes: Uint8Array, from: number): number {
    let seconds = 0;
    let at = from;
    for (; isDigit(bytes[at]!); at++) seconds = (seconds * 10 + bytes[at]! - zero) | 0;
    if (at === from || at - from > secondsDigitsMax) return -1;
    this.#columns.seconds[this.#rows] = seconds;
    return bytes[at] === point && bytes[at + 1] === zero ? at + 2 : at;
  }

  #readYear(bytes: Uint8Array, at: number): number {
    const value = readYear(bytes, at, at + yearBytes);
    if (value === undefined) return -1;
    this.#columns.year[this.#rows] = value;
    return at + yearBytes;
  }

  #readCode(bytes: Uint8Array, from: number, key: number): number {
    let at = from;
    let high = 0;
    let low = 0;
    // Letters and digits; what is below a comma might be a quote, and what is above 127 might not be UTF-8.
    for (let byte = bytes[at]!; byte > comma && byte < 0x80; byte = bytes[++at]!) {
      high = (high << 8) | (low >>> 24);
      low = (low << 8) | byte;
    }
    this.#keys[key] = high;
    this.#keys[key + 1] = low;
    return at - from <= shortCodeBytesMax ? at : -1;
  }

  /** Only now that all of the row is good, its codes get their numbers. */
  #commit(): void {
    const row = this.#rows++;
    const keys = this.#keys;
    this.#columns.micros[row] = 0;
    this.#columns.start[row] = this.#codes.numberOfShort(keys[0]!, keys[1]!);
    this.#columns.end[row] = this.#codes.numberOfShort(keys[2]!, keys[3]!);
  }

  /** Takes the row that the scanner is at; the reason if it cannot. */
  take(csv: CsvScanner): string | undefined {
    const { bytes } = csv;
    const day = this.#dates.read(bytes, csv.from(startDate), csv.to(startDate));
    if (day === undefined) return `start_date ${csv.excerpt(startDate)} is no date`;
    const length = readDuration(bytes, csv.from(duration), csv.to(duration));
    if (length === undefined) return `duration_sec ${csv.excerpt(duration)} is no number within 2^31`;
    const yearOfTrip = readYear(bytes, csv.from(year), csv.to(year));
    if (yearOfTrip === undefined) return `yearid ${csv.excerpt(year)} is no year`;
    for (const column of [startCode, endCode]) {
      const problem = codeProblem(bytes, csv.from(column), csv.to(column));
      if (problem !== undefined) return `${columnNames[column]!} ${csv.excerpt(column)} ${problem}`;
    }
    const row = this.#rows++;
    const columns = this.#columns;
    columns.day[row] = day;
    columns.seconds[row] = length.seconds;
    columns.micros[row] = length.micros;
    columns.start[row] = this.#codes.numberOf(bytes, csv.from(startCode), csv.to(startCode));
    columns.end[row] = this.#codes.numberOf(bytes, csv.from(endCode), csv.to(endCode));
    columns.year[row] = yearOfTrip;
    return undefined;
  }

  /** The columns of all rows taken since the last time. */
  table(): Table {
    const rows = this.#rows;
    const { day, seconds, micros, start, end, year } = this.#columns;
    this.#rows = 0;
    return {
      day: day.slice(0, rows),
      seconds: seconds.slice(0, rows),
      micros: micros.slice(0, rows),
      start: start.slice(0, rows),
      end: end.slice(0, rows),
      year: year.slice(0, rows),
      codes: this.#codes.take(),
    };
  }
}

/** Where a field ends that nobody reads, or -1 if it begins with a quote. */
function endOfOther(bytes: Uint8Array, from: number): number {
  if (bytes[from] === 0x22) return -1;
  let at = from;
  while (bytes[at]! > comma || (bytes[at] !== comma && bytes[at] !== lf && bytes[at] !== cr)) at++;
  return at;
}
