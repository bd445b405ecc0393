/**
 * Rows of a CSV file as byte ranges, without making a string of what nobody reads: RFC 4180, with LF or CRLF, with or without a byte order
 * mark and a last newline. Columns are found by their names in the header, in any order, among others; blank lines are passed over.
 *
 * A row that is no CSV, that has more or fewer fields than the header or more than 64 KiB, is a problem of that row: scanning goes on
 * at the next line after the one on which it began, so that a quote which nobody closes costs one row and no memory.
 * What comes out depends on the bytes alone, not on how they were cut into chunks.
 */

/** The file cannot be read: its header lacks columns. */
export class HeaderError extends Error {
  override readonly name = 'HeaderError';
}

/** Long enough for any row of such data; what is longer comes of a quote that nobody closed. */
export const recordBytesMax = 64 * 1024;
/** Ten times what the widest file of the public data set has. */
const fieldsMax = 256;

/** Beyond the bytes that there are: an LF, and room for readers that look ahead. */
const slackBytes = 32;

const lf = 0x0a;
const cr = 0x0d;
const quote = 0x22;
const comma = 0x2c;
const tooLong = `has more than ${recordBytesMax} bytes; perhaps a quote is not closed`;

const byteOrderMark = [0xef, 0xbb, 0xbf];

const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const tolerantDecoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Scans one file: `push` some of it, call `next` until it says no, `push` more; after the last, `end` and `next` once more until no. */
export class CsvScanner {
  /** Where the fields of the row lie, until the next `push`. */
  bytes = new Uint8Array(slackBytes);
  /** The line on which the row began; the header is on line 1. */
  line = 0;
  /** Why this is no row, then it has no fields. */
  problem: string | undefined;

  readonly #file: string;
  readonly #names: readonly string[];
  /** Number of each wanted column in the file; undefined before the header. */
  #positions: Int32Array | undefined;
  #layout = new Int8Array();
  #fields = 0;
  /** Field f of the row is bytes[bounds[2f]] up to, not including, bytes[bounds[2f + 1]]. */
  readonly #bounds = new Int32Array(2 * fieldsMax);
  /** The bytes not yet scanned; an LF always follows them, to stop a scan that then finds itself at the end. */
  #at = 0;
  #end = 0;
  #nextLine = 1;
  #begun = false;
  #ended = false;
  /** Within a line that is not wanted. */
  #skipping = false;

  /** For the columns of these names, which are then numbered from 0; `file` is for messages. */
  constructor(file: string, names: readonly string[]) {
    this.#file = file;
    this.#names = names;
    this.bytes[0] = lf;
  }

  /** False as long as no header was seen. */
  get hasHeader(): boolean {
    return this.#positions !== undefined;
  }

  /** Takes the next bytes of the file; they are copied. */
  push(chunk: Uint8Array): void {
    const rest = this.#end - this.#at;
    if (rest + chunk.length + slackBytes <= this.bytes.length) {
      this.bytes.copyWithin(0, this.#at, this.#end);
    } else {
      const grown = new Uint8Array(rest + chunk.length + slackBytes);
      grown.set(this.bytes.subarray(this.#at, this.#end));
      this.bytes = grown;
    }
    this.bytes.set(chunk, rest);
    this.#at = 0;
    this.#end = rest + chunk.length;
    this.bytes[this.#end] = lf;
  }

  /** There are no more bytes: a last line without a newline is one all the same. */
  end(): void {
    if (this.#ended) return;
    if (this.#at < this.#end && this.bytes[this.#end - 1] !== lf) this.push(Uint8Array.of(lf));
    this.#ended = true;
  }

  /** Goes to the next row, or to the next problem; false if it needs more bytes. Throws a `HeaderError` if the header lacks a column. */
  next(): boolean {
    return (this.#positions !== undefined || this.#readHeader()) && this.#scan();
  }

  /** For a reader that can do without looking for the fields first: the wanted column of each field of a row, or -1. */
  get layout(): Int8Array {
    return this.#layout;
  }

  /** Where such a reader may begin to read a row, -1 if not now; it may look 32 bytes beyond `usualTo`, but not use what it finds there. */
  get usualFrom(): number {
    return this.hasHeader && !this.#skipping ? this.#at : -1;
  }

  /** Where the bytes end that there are. */
  get usualTo(): number {
    return this.#end;
  }

  /** Such a reader has read so many rows of one line each, and the next begins at `nextAt`. */
  passRows(rows: number, nextAt: number): void {
    this.#nextLine += rows;
    this.#at = nextAt;
  }

  /** Where the field of a wanted column begins. */
  from(column: number): number {
    return this.#bounds[2 * this.#positions![column]!]!;
  }

  /** Where it ends: the first byte that does not belong to it. */
  to(column: number): number {
    return this.#bounds[2 * this.#positions![column]! + 1]!;
  }

  /** The field as text; undefined if it is not valid UTF-8. */
  text(column: number): string | undefined {
    try {
      return strictDecoder.decode(this.bytes.subarray(this.from(column), this.to(column)));
    } catch {
      return undefined;
    }
  }

  /** What `read` makes of the bytes of the field. */
  read<T>(column: number, read: (bytes: Uint8Array, from: number, to: number) => T): T {
    return read(this.bytes, this.from(column), this.to(column));
  }

  /** The column's name and the beginning of the field, in quotes, for messages. */
  named(column: number): string {
    const field = this.bytes.subarray(this.from(column), this.to(column));
    return `${this.#names[column]!} ${excerptOf(tolerantDecoder.decode(field))}`;
  }

  /** Passes over a byte order mark; false if it takes more bytes to tell. */
  #begin(): boolean {
    if (this.#end < byteOrderMark.length && !this.#ended) return false;
    this.#begun = true;
    if (byteOrderMark.every((byte, index) => this.bytes[index] === byte)) this.#at = byteOrderMark.length;
    return true;
  }

  #readHeader(): boolean {
    if (!this.#begun && !this.#begin()) return false;
    if (!this.#scan()) return false;
    if (this.problem !== undefined) throw new HeaderError(`${this.#file}: the header ${this.problem}`);
    if (this.#fields > fieldsMax)
      throw new HeaderError(`${this.#file}: a header of ${this.#fields} columns; at most ${fieldsMax} are allowed`);
    const found = Array.from({ length: this.#fields }, (_, field) => {
      return tolerantDecoder.decode(this.bytes.subarray(this.#bounds[2 * field], this.#bounds[2 * field + 1]));
    });
    const missing = this.#names.filter((name) => !found.includes(name));
    const twice = this.#names.filter((name) => found.indexOf(name) !== found.lastIndexOf(name));
    if (missing.length + twice.length > 0) {
      const problems = [
        missing.length > 0 ? `has no ${missing.join(', ')}` : '',
        twice.length > 0 ? `has ${twice.join(', ')} twice` : '',
      ];
      throw new HeaderError(
        `${this.#file}: the header ${problems.filter((text) => text !== '').join(' and ')}; it is ${excerptOf(found.join(','))}`,
      );
    }
    this.#positions = Int32Array.from(this.#names, (name) => found.indexOf(name));
    this.#layout = Int8Array.from(found, (name) => this.#names.indexOf(name));
    return true;
  }

  /** The fast way: most bytes take one comparison, as what separates fields is less than what is mostly in them. */
  #scan(): boolean {
    if (this.#skipping && !this.#skipLine()) return false;
    const { bytes } = this;
    const bounds = this.#bounds;
    let field = 0;
    let at = this.#at;
    let from = at;
    for (;;) {
      const byte = bytes[at]!;
      if (byte > comma) {
        at++;
      } else if (byte === comma) {
        if (field < fieldsMax) {
          bounds[2 * field] = from;
          bounds[2 * field + 1] = at;
        }
        field++;
        from = ++at;
      } else if (byte === lf) {
        if (at === this.#end) return this.#scanLater();
        if (at - this.#at > 1 || (at > this.#at && bytes[at - 1] !== cr)) return this.#endRow(field, from, at);
        // A blank line.
        this.#nextLine++;
        this.#at = from = ++at;
      } else if (byte === quote && at === from) {
        return this.#scanQuoted();
      } else {
        at++;
      }
    }
  }

  /** The row is there up to its LF at `lfAt`, and its last field is `field`. */
  #endRow(field: number, from: number, lfAt: number): boolean {
    if (lfAt - this.#at > recordBytesMax) return this.#reject(tooLong);
    this.#setBounds(field, from, this.bytes[lfAt - 1] === cr && lfAt > from ? lfAt - 1 : lfAt);
    this.#finishRow(field + 1, lfAt + 1, 1);
    return true;
  }

  #setBounds(field: number, from: number, to: number): void {
    if (field >= fieldsMax) return;
    this.#bounds[2 * field] = from;
    this.#bounds[2 * field + 1] = to;
  }

  #finishRow(fields: number, nextAt: number, lines: number): void {
    this.line = this.#nextLine;
    this.#nextLine += lines;
    this.#at = nextAt;
    this.#fields = fields;
    const fits = fields === this.#layout.length || this.#positions === undefined;
    this.problem = fits ? undefined : `has ${fields} fields, not ${this.#layout.length} as the header`;
  }

  /** The row is not all there. */
  #scanLater(): boolean {
    if (this.#end - this.#at > recordBytesMax) return this.#reject(tooLong);
    // After the last newline only a quote can be waiting for more.
    return this.#ended && this.#at < this.#end && this.#reject('has a quote that is not closed');
  }

  /** The row is a problem, and the next one begins on the next line. */
  #reject(problem: string): boolean {
    this.problem = problem;
    this.line = this.#nextLine;
    this.#skipping = true;
    return true;
  }

  /** Goes to the next line; false if its beginning is not there yet. */
  #skipLine(): boolean {
    const lfAt = this.bytes.indexOf(lf, this.#at);
    this.#at = Math.min(lfAt + 1, this.#end);
    if (lfAt >= this.#end) return false;
    this.#skipping = false;
    this.#nextLine++;
    return true;
  }

  /** The careful way, for a row with quotes: its end is found first, and only then are its fields changed. */
  #scanQuoted(): boolean {
    const escaped: number[] = [];
    let lines = 1;
    let from = this.#at;
    for (let field = 0; ; field++) {
      const isQuoted = this.bytes[from] === quote;
      const to = isQuoted ? this.#closingQuote(from + 1) : this.#separator(from);
      const separator = isQuoted ? this.#separator(to + 1) : to;
      if (separator - this.#at > recordBytesMax || separator >= this.#end) return this.#scanLater();
      const afterQuote = separator - to - 1;
      const isLast = this.bytes[separator] === lf;
      if (isQuoted && afterQuote > 0 && !(isLast && afterQuote === 1 && this.bytes[to + 1] === cr)) {
        return this.#reject(`has text after the closing quote of field ${field + 1}`);
      }
      if (isQuoted) {
        lines += count(this.bytes, lf, from, to);
        if (count(this.bytes, quote, from + 1, to) > 0) escaped.push(field);
      }
      const hasCr = !isQuoted && isLast && to > from && this.bytes[to - 1] === cr;
      this.#setBounds(field, isQuoted ? from + 1 : from, hasCr ? to - 1 : to);
      from = separator + 1;
      if (!isLast) continue;
      escaped.forEach((each) => this.#unescape(each));
      this.#finishRow(field + 1, from, lines);
      return true;
    }
  }

  /** Where the comma or LF is that ends a field; the end of the bytes at the latest, where an LF stands. */
  #separator(from: number): number {
    let at = Math.min(from, this.#end);
    while (this.bytes[at] !== comma && this.bytes[at] !== lf) at++;
    return at;
  }

  /** Where the quote is that closes a field; the end of the bytes if it is not there, or not known to be one without what follows. */
  #closingQuote(from: number): number {
    for (let at = from; at < this.#end - 1; at++) {
      if (this.bytes[at] !== quote) continue;
      if (this.bytes[at + 1] !== quote) return at;
      at++;
    }
    return this.#end;
  }

  /** Makes one quote of two, in place. */
  #unescape(field: number): void {
    if (field >= fieldsMax) return;
    const { bytes } = this;
    let to = this.#bounds[2 * field]!;
    for (let at = to; at < this.#bounds[2 * field + 1]!; at++) {
      bytes[to++] = bytes[at]!;
      if (bytes[at] === quote) at++;
    }
    this.#bounds[2 * field + 1] = to;
  }
}

function count(bytes: Uint8Array, wanted: number, from: number, to: number): number {
  let found = 0;
  for (let at = from; at < to; at++) if (bytes[at] === wanted) found++;
  return found;
}

/** Enough to recognise a value by. */
const excerptLength = 80;

function excerptOf(text: string): string {
  return JSON.stringify(text.length > excerptLength ? `${text.slice(0, excerptLength)}…` : text);
}
