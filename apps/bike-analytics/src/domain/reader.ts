/**
 * Reads the files of the data set: cuts the columns that the system needs, checks each row, and batches. It knows nothing of the queries.
 *
 * The columns of the batches:
 *   weather    day, the day that the row describes, in days since 1970-01-01 · rainMm, NaN = unknown, as -999 is
 *   stations   code · name · latitude · longitude, NaN = unknown, as 0,0 is · year
 *   trips      day, on which it started · seconds and micros, its duration, rounded down to the second, and what is above · start and end, numbers of
 *              texts in codes · year · codes, the dictionary of this batch, as long as it has different codes
 *
 * A field is checked if it is needed. A row with one that cannot be is rejected with the value, and so is text that is not valid UTF-8.
 */
import { codeProblem, CsvScanner, DateReader, encodeTable, readNumber, readYear, type Table, Texts } from '@lab/columns';
import type { Topic } from './terms.ts';
import { TripRows } from './trip-rows.ts';

/** A row of the input that was not taken. */
export interface Rejection {
  file: string;
  /** Of the first line of the row; the header is line 1. */
  line: number;
  /** With the value that is wrong. */
  reason: string;
  /** The reason without what differs from row to row. */
  kind: string;
}

/** Rows as an encoded table. */
export interface Batch {
  rows: number;
  table: Uint8Array;
}

/** What was not taken of a file: how many rows in all and of each kind, and the first ten of each kind. */
export interface Rejections {
  count: number;
  kinds: Readonly<Record<string, number>>;
  first: readonly Rejection[];
}

/**
 * Reads one file, once. Batches and rejections depend on its bytes, not on how they are cut into chunks. What a reader holds is bounded, but for
 * weather and stations, of which it remembers each key.
 */
export interface TopicReader {
  readonly rejections: Rejections;
  /** Takes the next bytes, and gives the batches that they complete. Throws a `HeaderError` if the header lacks a column. */
  push(chunk: Uint8Array): Batch[];
  /** There are no more bytes: gives what is left. A file without any is one rejection. */
  end(): Batch[];
}

export interface ReaderOptions {
  /** The file's name in rejections. */
  file: string;
  /** Rows of a batch, 1 to 100,000; the last one of a file has what is left, and one with 4 MiB of texts has fewer. */
  batchRows: number;
  /** Days from the date of a weather row to the day that it describes. */
  weatherOffsetDays: number;
}

/** A reader of one file of a topic. */
export function newTopicReader(topic: Topic, options: ReaderOptions): TopicReader {
  const { file, batchRows, weatherOffsetDays } = options;
  const rows = {
    weather: () => new WeatherRows(weatherOffsetDays),
    stations: () => new StationRows(),
    trips: () => new TripRows(batchRows),
  }[topic]();
  return new FileReading(file, rows, batchRows);
}

/** The rows of one topic on their way into columns. */
interface Rows {
  /** The columns that it needs; in `take` they go by their numbers. */
  readonly names: readonly string[];
  /** Takes rows that it knows how to read faster than the scanner, at most so many, and returns their number. */
  takeUsual?(csv: CsvScanner, rowsMax: number): number;
  /** Takes the row that the scanner is at; the reason if it cannot. */
  take(csv: CsvScanner): string | undefined;
  /** Bytes of their texts, about. */
  readonly textBytes: number;
  /** The columns of all rows taken since the last time, as they are until more are taken. */
  table(): Table;
}

/** With more of texts a batch is full, however few its rows are: it has to fit into a frame of 16 MiB. */
const textBytesMax = 4 * 1024 * 1024;

/** All are counted; more of a kind nobody reads. */
const firstOfKind = 10;
/** Further kinds are one. */
const kindsMax = 100;

class FileReading implements TopicReader {
  readonly rejections = { count: 0, kinds: {} as Record<string, number>, first: [] as Rejection[] };
  readonly #file: string;
  readonly #rows: Rows;
  readonly #batchRows: number;
  readonly #csv: CsvScanner;
  #rowsTaken = 0;

  constructor(file: string, rows: Rows, batchRows: number) {
    this.#file = file;
    this.#rows = rows;
    this.#batchRows = batchRows;
    this.#csv = new CsvScanner(file, rows.names);
  }

  push(chunk: Uint8Array): Batch[] {
    this.#csv.push(chunk);
    return this.#takeAll();
  }

  end(): Batch[] {
    this.#csv.end();
    const batches = this.#takeAll();
    if (!this.#csv.hasHeader) this.#reject(1, 'the file is empty: it has no header');
    if (this.#rowsTaken > 0) batches.push(this.#batch());
    return batches;
  }

  #takeAll(): Batch[] {
    const csv = this.#csv;
    const rows = this.#rows;
    const batches: Batch[] = [];
    for (;;) {
      this.#rowsTaken += rows.takeUsual?.(csv, this.#batchRows - this.#rowsTaken) ?? 0;
      if (this.#rowsTaken === this.#batchRows || rows.textBytes >= textBytesMax) batches.push(this.#batch());
      else if (!csv.next()) return batches;
      else this.#takeNext();
    }
  }

  #takeNext(): void {
    const csv = this.#csv;
    const problem = csv.problem === undefined ? this.#rows.take(csv) : `the row ${csv.problem}`;
    if (problem === undefined) this.#rowsTaken += 1;
    else this.#reject(csv.line, problem);
  }

  #batch(): Batch {
    const batch = { rows: this.#rowsTaken, table: encodeTable(this.#rows.table()) };
    this.#rowsTaken = 0;
    return batch;
  }

  #reject(line: number, reason: string): void {
    const { kinds, first } = this.rejections;
    this.rejections.count += 1;
    const own = kindOf(reason);
    const kind = own in kinds || Object.keys(kinds).length < kindsMax ? own : 'other reasons';
    kinds[kind] = (kinds[kind] ?? 0) + 1;
    if (kinds[kind] <= firstOfKind) first.push({ file: this.#file, line, reason, kind });
  }
}

/** Without the value, which is in quotes, and the number of another line. */
const kindOf = (reason: string): string => reason.replace(/ ".*"…?/s, '').replace(/line \d+/, 'another line');

/** Lines of the keys of one file. */
class Keys<K> {
  readonly #lines = new Map<K, number>();

  /** The reason if a row before has this key. */
  problem(key: K, line: number, name: string): string | undefined {
    const before = this.#lines.get(key);
    if (before !== undefined) return `${name} is that of line ${before}, and the first row counts`;
    this.#lines.set(key, line);
    return undefined;
  }
}

class WeatherRows implements Rows {
  readonly names = ['date', 'prectot'];
  readonly textBytes = 0;
  readonly #offsetDays: number;
  readonly #dates = new DateReader();
  readonly #keys = new Keys<number>();
  #day: number[] = [];
  #rainMm: number[] = [];

  constructor(offsetDays: number) {
    this.#offsetDays = offsetDays;
  }

  take(csv: CsvScanner): string | undefined {
    const date = this.#dates.read(csv.bytes, csv.from(0), csv.to(0));
    if (date === undefined) return `date ${csv.excerpt(0)} is no date`;
    const rainMm = readNumber(csv.bytes, csv.from(1), csv.to(1));
    if (rainMm === undefined) return `prectot ${csv.excerpt(1)} is no number`;
    const problem = this.#keys.problem(date, csv.line, `date ${csv.excerpt(0)}`);
    if (problem !== undefined) return problem;
    this.#day.push(date + this.#offsetDays);
    this.#rainMm.push(rainMm === missing ? NaN : rainMm);
    return undefined;
  }

  table(): Table {
    const table = { day: Int32Array.from(this.#day), rainMm: Float64Array.from(this.#rainMm) };
    this.#day = [];
    this.#rainMm = [];
    return table;
  }
}

interface Station {
  code: string;
  name: string;
  latitude: number;
  longitude: number;
  year: number;
}

/** What the data set writes for "not measured", besides nothing at all. */
const missing = -999;

class StationRows implements Rows {
  readonly names = ['code', 'name', 'latitude', 'longitude', 'yearid'];
  readonly #keys = new Keys<string>();
  textBytes = 0;
  #stations: Station[] = [];

  take(csv: CsvScanner): string | undefined {
    for (const column of [0, 1]) {
      const name = this.names[column]!;
      if (csv.from(column) === csv.to(column)) return `${name} is missing`;
      const problem = codeProblem(csv.bytes, csv.from(column), csv.to(column));
      if (problem !== undefined) return `${name} ${csv.excerpt(column)} ${problem}`;
    }
    const [code, name] = [csv.text(0)!, csv.text(1)!];
    const latitude = readCoordinate(csv, 2, 90);
    if (latitude === undefined) return `latitude ${csv.excerpt(2)} is no number from -90 to 90`;
    const longitude = readCoordinate(csv, 3, 180);
    if (longitude === undefined) return `longitude ${csv.excerpt(3)} is no number from -180 to 180`;
    const year = readYear(csv.bytes, csv.from(4), csv.to(4));
    if (year === undefined) return `yearid ${csv.excerpt(4)} is no year`;
    const problem = this.#keys.problem(`${year}/${code}`, csv.line, `code ${csv.excerpt(0)} of ${year}`);
    if (problem !== undefined) return problem;
    // Where the data set of others has no station: nothing stands in the sea off Ghana.
    const isNowhere = latitude === 0 && longitude === 0;
    this.textBytes += csv.to(0) - csv.from(0) + csv.to(1) - csv.from(1);
    this.#stations.push({ code, name, latitude: isNowhere ? NaN : latitude, longitude, year });
    return undefined;
  }

  table(): Table {
    const stations = this.#stations;
    this.#stations = [];
    this.textBytes = 0;
    return {
      code: Texts.from(stations.map(({ code }) => code)),
      name: Texts.from(stations.map(({ name }) => name)),
      latitude: Float64Array.from(stations, ({ latitude }) => latitude),
      longitude: Float64Array.from(stations, ({ longitude }) => longitude),
      year: Int32Array.from(stations, ({ year }) => year),
    };
  }
}

/** NaN if it is missing, undefined if it is wrong. */
function readCoordinate(csv: CsvScanner, column: number, degreesMax: number): number | undefined {
  if (csv.from(column) === csv.to(column)) return NaN;
  const degrees = readNumber(csv.bytes, csv.from(column), csv.to(column));
  if (degrees === missing) return NaN;
  return degrees !== undefined && Math.abs(degrees) <= degreesMax ? degrees : undefined;
}
