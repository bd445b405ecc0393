/**
 * Reads a CSV file, once, into batches of encoded tables, and keeps account of the rows that it did not take. Batches and rejections depend on the
 * file's bytes, not on how they are cut into chunks.
 */
import { CsvScanner } from './csv.ts';
import { tableOf, type RowOf, type Schema } from './columns.ts';
import { encodeTable, type Table } from './table.ts';

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

/** What was not taken of a file: how many rows in all and of each kind, and the first ten of each kind. */
export interface Rejections {
  count: number;
  kinds: Readonly<Record<string, number>>;
  first: readonly Rejection[];
}

/** Rows as an encoded table. */
export interface Batch {
  rows: number;
  table: Uint8Array;
}

/** What comes of a file: its batches, and at the end how many rows they had and what was not taken. Each with the bytes that were read by then. */
export type Piece = { bytesRead: number } & ({ batch: Batch } | { rows: number; rejections: Rejections });

/** The rows of one kind of file on their way into columns. */
export interface Rows {
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

/** Reads one file. What it holds is bounded, but for what `rows` remembers. */
export class TableReader {
  readonly rejections = { count: 0, kinds: {} as Record<string, number>, first: [] as Rejection[] };
  readonly #file: string;
  readonly #rows: Rows;
  readonly #batchRows: number;
  readonly #csv: CsvScanner;
  /** Of the batch to come. */
  #rowsTaken = 0;
  #rowsGiven = 0;

  /** `file` is its name in rejections. A batch has `batchRows` rows; the last one has what is left, and one with 4 MiB of texts has fewer. */
  constructor(file: string, rows: Rows, batchRows: number) {
    this.#file = file;
    this.#rows = rows;
    this.#batchRows = batchRows;
    this.#csv = new CsvScanner(file, rows.names);
  }

  /** Rows of all batches so far. */
  get rows(): number {
    return this.#rowsGiven;
  }

  /** Reads a file from its beginning to its end. */
  async *read(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Piece> {
    let bytesRead = 0;
    for await (const chunk of chunks) {
      bytesRead += chunk.byteLength;
      for (const batch of this.push(chunk)) yield { bytesRead, batch };
    }
    for (const batch of this.end()) yield { bytesRead, batch };
    yield { bytesRead, rows: this.rows, rejections: this.rejections };
  }

  /** Takes the next bytes, and gives the batches that they complete. Throws a `HeaderError` if the header lacks a column. */
  push(chunk: Uint8Array): Batch[] {
    this.#csv.push(chunk);
    return this.#takeAll();
  }

  /** There are no more bytes: gives what is left. A file without any is one rejection. */
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
    this.#rowsGiven += this.#rowsTaken;
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

/** Rows read one by one. */
export class PlainRows<S extends Schema> implements Rows {
  readonly names: readonly string[];
  textBytes = 0;
  readonly #schema: S;
  readonly #read: (csv: CsvScanner) => RowOf<S> | string;
  #rows: RowOf<S>[] = [];

  /** `read` gives the row of the schema that the scanner is at, or the reason why it cannot. */
  constructor(names: readonly string[], schema: S, read: (csv: CsvScanner) => RowOf<S> | string) {
    this.names = names;
    this.#schema = schema;
    this.#read = read;
  }

  take(csv: CsvScanner): string | undefined {
    const row = this.#read(csv);
    if (typeof row === 'string') return row;
    for (const column of this.names.keys()) this.textBytes += csv.to(column) - csv.from(column);
    this.#rows.push(row);
    return undefined;
  }

  table(): Table {
    const table = tableOf(this.#schema, this.#rows);
    this.#rows = [];
    this.textBytes = 0;
    return table;
  }
}

/** The keys of a file of which each row has another, and their lines. It remembers all. */
export class Keys<K> {
  readonly #lines = new Map<K, number>();

  /** The reason if a row before has this key. */
  problem(key: K, line: number, name: string): string | undefined {
    const before = this.#lines.get(key);
    if (before !== undefined) return `${name} is that of line ${before}, and the first row counts`;
    this.#lines.set(key, line);
    return undefined;
  }
}
