/** Rows of trips on their way into columns. */
import {
  CodeNumbers,
  codeProblem,
  dateBytes,
  DateReader,
  isDigit,
  readDuration,
  readYear,
  timeEnd,
  yearBytes,
  type CsvScanner,
  type Table,
} from '@lab/columns';

const lf = 0x0a;
const cr = 0x0d;
const space = 0x20;
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

const usualLayout = [startDate, startCode, -1, endCode, duration, -1, year];

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
  /** `batchRows` is the most that come between two calls of `table`. */
  constructor(batchRows: number) {
    const column = () => new Int32Array(batchRows);
    this.#columns = { day: column(), seconds: column(), micros: column(), start: column(), end: column(), year: column() };
  }

  /** Takes usual rows, at most so many, up to one that is not, and returns their number. */
  takeUsual(csv: CsvScanner, rowsMax: number): number {
    const from = csv.usualFrom;
    if (from < 0 || !this.#isUsualLayout(csv.layout)) return 0;
    const first = this.#rows;
    const next = this.#readRows(csv.bytes, from, csv.usualTo, first + rowsMax);
    csv.passRows(this.#rows - first, next);
    return this.#rows - first;
  }

  #isUsualLayout(layout: Int8Array): boolean {
    return layout.length === usualLayout.length && usualLayout.every((column, field) => layout[field] === column);
  }

  #readRows(bytes: Uint8Array, from: number, to: number, rowsMax: number): number {
    let at = from;
    while (this.#rows < rowsMax) {
      const next = this.#readRow(bytes, at, to);
      if (next < 0) break;
      this.#rows++;
      at = next;
    }
    return at;
  }

  /** Where the next row begins, if this one is usual; it is then in the columns, but not yet counted. Otherwise -1. */
  #readRow(bytes: Uint8Array, from: number, to: number): number {
    const row = this.#rows;
    const day = this.#dates.readDate(bytes, from);
    if (day === undefined) return -1;
    let at = timeEnd(bytes, from + dateBytes);
    let byte = bytes[at]!;
    if (byte !== comma) return -1;
    const startFrom = at + 1;
    let startHigh = 0;
    let startLow = 0;
    // Letters and digits: what is below a comma might be a quote.
    let all = 0;
    for (byte = bytes[++at]!; byte > comma; byte = bytes[++at]!) {
      startHigh = (startHigh << 8) | (startLow >>> 24);
      startLow = (startLow << 8) | byte;
      all |= byte;
    }
    if (byte !== comma || at - startFrom > shortCodeBytesMax) return -1;
    at = endOfOther(bytes, at + 1);
    if (bytes[at] !== comma) return -1;
    const endFrom = at + 1;
    let endHigh = 0;
    let endLow = 0;
    for (byte = bytes[++at]!; byte > comma; byte = bytes[++at]!) {
      endHigh = (endHigh << 8) | (endLow >>> 24);
      endLow = (endLow << 8) | byte;
      all |= byte;
    }
    // Beyond ASCII the bytes would have to be checked for UTF-8.
    if (byte !== comma || at - endFrom > shortCodeBytesMax || all >= 0x80) return -1;
    const digitsFrom = at + 1;
    let seconds = 0;
    while (isDigit((byte = bytes[++at]!))) seconds = (seconds * 10 + byte - zero) | 0;
    if (at === digitsFrom || at - digitsFrom > secondsDigitsMax) return -1;
    if (byte === point && bytes[at + 1] === zero) at += 2;
    if (bytes[at] !== comma) return -1;
    at = endOfOther(bytes, at + 1);
    if (bytes[at] !== comma) return -1;
    const year = readYear(bytes, at + 1, at + 1 + yearBytes);
    if (year === undefined) return -1;
    at += 1 + yearBytes;
    if (bytes[at] === cr) at++;
    // The LF at the end is not one of the file: there the scanner has put it.
    if (bytes[at] !== lf || at >= to || at - from > usualRowBytesMax) return -1;
    const columns = this.#columns;
    columns.day[row] = day;
    columns.seconds[row] = seconds;
    columns.micros[row] = 0;
    columns.year[row] = year;
    // Only now that all of the row is good, its codes get their numbers.
    columns.start[row] = this.#codes.numberOfShort(startHigh, startLow);
    columns.end[row] = this.#codes.numberOfShort(endHigh, endLow);
    return at + 1;
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

  get textBytes(): number {
    return this.#codes.bytes;
  }

  /** The columns of all rows taken since the last time, as they are until more are taken. */
  table(): Table {
    const rows = this.#rows;
    const { day, seconds, micros, start, end, year } = this.#columns;
    this.#rows = 0;
    return {
      day: day.subarray(0, rows),
      seconds: seconds.subarray(0, rows),
      micros: micros.subarray(0, rows),
      start: start.subarray(0, rows),
      end: end.subarray(0, rows),
      year: year.subarray(0, rows),
      codes: this.#codes.take(),
    };
  }
}

/** Where a field ends that nobody reads, as long as there is nothing unusual in it; a quote is. */
function endOfOther(bytes: Uint8Array, from: number): number {
  let at = from;
  let byte = bytes[at]!;
  while (byte > comma || byte === space) byte = bytes[++at]!;
  return at;
}
