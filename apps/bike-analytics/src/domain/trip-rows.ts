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
  type Rows,
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
const [startDate, duration, year, startCode, endCode] = [0, 1, 2, 3, 4];

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
export class TripRows implements Rows {
  readonly names = columnNames;
  readonly #dates = new DateReader();
  readonly #codes = new CodeNumbers();
  readonly #columns: Record<'day' | 'seconds' | 'micros' | 'start' | 'end' | 'year', Int32Array>;
  #rows = 0;
  /** The code that was read last. */
  #high = 0;
  #low = 0;
  /** `batchRows` is the most that come between two calls of `table`. */
  constructor(batchRows: number) {
    const column = () => new Int32Array(batchRows);
    this.#columns = { day: column(), seconds: column(), micros: column(), start: column(), end: column(), year: column() };
  }

  /** Takes usual rows, at most so many, up to one that is not, and returns their number. */
  takeUsual(csv: CsvScanner, rowsMax: number): number {
    const { bytes, layout, usualTo } = csv;
    let at = csv.usualFrom;
    const isUsual = layout.length === usualLayout.length && usualLayout.every((column, field) => layout[field] === column);
    if (at < 0 || !isUsual) return 0;
    const first = this.#rows;
    while (this.#rows < first + rowsMax) {
      const next = this.#readRow(bytes, at, usualTo);
      if (next < 0) break;
      this.#rows++;
      at = next;
    }
    csv.passRows(this.#rows - first, at);
    return this.#rows - first;
  }

  /** Where the next row begins, if this one is usual; it is then in the columns, but not yet counted. Otherwise -1. */
  #readRow(bytes: Uint8Array, from: number, to: number): number {
    const row = this.#rows;
    const day = this.#dates.readDate(bytes, from);
    if (day === undefined) return -1;
    let at = timeEnd(bytes, from + dateBytes);
    if (bytes[at] !== comma) return -1;
    at = this.#readCode(bytes, at + 1);
    const [startHigh, startLow] = [this.#high, this.#low];
    if (bytes[at] !== comma) return -1;
    at = endOfOther(bytes, at + 1);
    if (bytes[at] !== comma) return -1;
    at = this.#readCode(bytes, at + 1);
    if (bytes[at] !== comma) return -1;
    const digitsFrom = at + 1;
    let seconds = 0;
    let byte: number;
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
    columns.end[row] = this.#codes.numberOfShort(this.#high, this.#low);
    return at + 1;
  }

  /** Where a short code ends: what is below a comma might be a quote, and beyond ASCII the bytes would have to be checked for UTF-8. */
  #readCode(bytes: Uint8Array, from: number): number {
    let high = 0;
    let low = 0;
    let at = from;
    for (let byte = bytes[at]!; byte > comma && byte < 0x80; byte = bytes[++at]!) {
      high = (high << 8) | (low >>> 24);
      low = (low << 8) | byte;
    }
    this.#high = high;
    this.#low = low;
    // A longer one has no comma where it is said to end.
    return at - from > shortCodeBytesMax ? at - 1 : at;
  }

  /** Takes the row that the scanner is at; the reason if it cannot. */
  take(csv: CsvScanner): string | undefined {
    const day = this.#dates.read(csv.bytes, csv.from(startDate), csv.to(startDate));
    if (day === undefined) return `${csv.named(startDate)} is no date`;
    const length = csv.read(duration, readDuration);
    if (length === undefined) return `${csv.named(duration)} is no number within 2^31`;
    const yearOfTrip = csv.read(year, readYear);
    if (yearOfTrip === undefined) return `${csv.named(year)} is no year`;
    for (const column of [startCode, endCode]) {
      const problem = csv.read(column, codeProblem);
      if (problem !== undefined) return `${csv.named(column)} ${problem}`;
    }
    const row = this.#rows++;
    const columns = this.#columns;
    columns.day[row] = day;
    columns.seconds[row] = length.seconds;
    columns.micros[row] = length.micros;
    columns.start[row] = this.#codes.numberOf(csv.bytes, csv.from(startCode), csv.to(startCode));
    columns.end[row] = this.#codes.numberOf(csv.bytes, csv.from(endCode), csv.to(endCode));
    columns.year[row] = yearOfTrip;
    return undefined;
  }

  get textBytes(): number {
    return this.#codes.bytes;
  }

  /** The columns of all rows taken since the last time, as they are until more are taken. */
  table(): Table {
    const taken = Object.entries(this.#columns).map(([name, column]) => [name, column.subarray(0, this.#rows)] as const);
    this.#rows = 0;
    return { ...Object.fromEntries(taken), codes: this.#codes.take() };
  }
}

/** Where a field ends that nobody reads, as long as there is nothing unusual in it; a quote is. */
function endOfOther(bytes: Uint8Array, from: number): number {
  let at = from;
  let byte = bytes[at]!;
  while (byte > comma || byte === space) byte = bytes[++at]!;
  return at;
}
