/**
 * Batches of rows as columns, in compact bytes. A role takes the columns it needs without touching the others, and a column is read by a
 * tight loop into a typed array: about 1 ns per value.
 *
 *   table    u8   format, 1
 *            u8   number of columns
 *            then the columns, one after the other, without padding
 *   column   u8   bytes of its name, 1 to 255
 *                 the name, UTF-8; no two columns share a name
 *            u8   kind: 0, 1, 2 or 4 = whole numbers of that width; 8 = floats; 16 = texts
 *            u32  number of values, at most 1,000,000
 *            u32  bytes of data
 *                 the data
 *   whole numbers of width W (frame of reference, as in Lemire and Boytsov's integer compression)
 *            i32  base: a column of width 4 has base 0, a narrower one the least value, or 0 if that is no wider
 *                 for each value, its distance from the base in W bytes, unsigned for 1 and 2; of width 0: nothing, all values are the base
 *   floats        for each value, an IEEE 754 binary64; NaN = missing
 *   texts         for each text, u16, its length in bytes; then the bytes of all texts, UTF-8
 *
 * All numbers are little-endian, as are all hosts that matter: typed arrays are copied as they are. Columns of a table may differ in length: one may be the dictionary of another.
 */

/** A column of whole numbers, of numbers, or of texts. */
export type Column = Int32Array | Float64Array | Texts;
export type Table = Readonly<Record<string, Column>>;

/** The bytes are no table, or not one with these columns. */
export class MalformedTableError extends Error {
  override readonly name = 'MalformedTableError';
}

if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1)
  throw new Error('tables need a little-endian host: typed arrays are copied as they are');

const format = 1;
const floatKind = 8;
const textKind = 16;
const bytesBeforeColumns = 2;
/** Of a column, beside its name and its data. */
const columnHeaderBytes = 10;
const columnsMax = 255;
const nameBytesMax = 255;
/** Ten times the largest batch. A column of width 0 costs no bytes, so that without a limit a few bytes could ask for gigabytes. */
const lengthMax = 1_000_000;
/** What a text's u16 length can say. */
const textBytesMax = 0xffff;

const encoder = new TextEncoder();
/** Strict, and it takes a text's first character for what it is, even a byte order mark. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Texts as their UTF-8 bytes: strings are made only of those that somebody looks at. */
export class Texts {
  readonly length: number;
  readonly #bytes: Uint8Array;
  /** Where each text ends in the bytes; it begins where the one before ends. */
  readonly #ends: Uint32Array;
  /** All texts in a row, if they are ASCII: then bytes and characters are counted alike. Undefined until first wanted. */
  #ascii: string | null | undefined;

  private constructor(bytes: Uint8Array, ends: Uint32Array) {
    this.length = ends.length;
    this.#bytes = bytes;
    this.#ends = ends;
  }

  /** A lone surrogate becomes U+FFFD, as it has no UTF-8. */
  static from(values: Iterable<string>): Texts {
    const parts: Uint8Array[] = [];
    let total = 0;
    const ends: number[] = [];
    for (const value of values) {
      const part = encoder.encode(value);
      parts.push(part);
      total += part.length;
      ends.push(total);
    }
    const bytes = new Uint8Array(total);
    parts.forEach((part, index) => bytes.set(part, ends[index]! - part.length));
    return new Texts(bytes, Uint32Array.from(ends));
  }

  /** Texts that lie one after the other in `bytes`, each up to its end; ascending, the last is the length of `bytes`. Keeps both arrays. */
  static fromUtf8(bytes: Uint8Array, ends: Uint32Array): Texts {
    if ((ends.at(-1) ?? 0) !== bytes.length) throw new RangeError(`texts end at ${ends.at(-1) ?? 0} of ${bytes.length} bytes`);
    return new Texts(bytes, ends);
  }

  /** All bytes, and where each text ends in them; not to be changed. */
  utf8(): { bytes: Uint8Array; ends: Uint32Array } {
    return { bytes: this.#bytes, ends: this.#ends };
  }

  /** The text at an index from 0. Throws a `MalformedTableError` if its bytes are no UTF-8. */
  at(index: number): string {
    if (!(index >= 0 && index < this.length)) throw new RangeError(`there is no text ${index} in a column of ${this.length}`);
    const start = index === 0 ? 0 : this.#ends[index - 1]!;
    const end = this.#ends[index]!;
    this.#ascii ??= asciiOf(this.#bytes);
    return this.#ascii === null ? decodeText(this.#bytes.subarray(start, end)) : this.#ascii.slice(start, end);
  }

  toArray(): string[] {
    return Array.from({ length: this.length }, (_, index) => this.at(index));
  }
}

function asciiOf(bytes: Uint8Array): string | null {
  return bytes.every((byte) => byte < 0x80) ? decodeText(bytes) : null;
}

function decodeText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new MalformedTableError('a text is not valid UTF-8', { cause });
  }
}

/** A column on its way to bytes. */
interface Part {
  name: Uint8Array;
  kind: number;
  length: number;
  data: readonly ArrayBufferView[];
  dataBytes: number;
}

/** The table as bytes. Throws a `RangeError` when it has more than 255 columns, a million values in one, or a text over 65,535 bytes. */
export function encodeTable(table: Table): Uint8Array {
  const parts = Object.entries(table).map(([name, column]) => partOf(name, column));
  if (parts.length > columnsMax) throw new RangeError(`a table of ${parts.length} columns; at most ${columnsMax} are allowed`);
  const total = parts.reduce((sum, part) => sum + columnHeaderBytes + part.name.length + part.dataBytes, bytesBeforeColumns);
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  bytes[0] = format;
  bytes[1] = parts.length;
  let at = bytesBeforeColumns;
  for (const { name, kind, length, data, dataBytes } of parts) {
    bytes[at] = name.length;
    bytes.set(name, at + 1);
    at += columnHeaderBytes + name.length;
    view.setUint8(at - 9, kind);
    view.setUint32(at - 8, length, true);
    view.setUint32(at - 4, dataBytes, true);
    for (const { buffer, byteOffset, byteLength } of data) {
      bytes.set(new Uint8Array(buffer, byteOffset, byteLength), at);
      at += byteLength;
    }
  }
  return bytes;
}

function partOf(columnName: string, column: Column): Part {
  const name = encoder.encode(columnName);
  if (name.length === 0 || name.length > nameBytesMax) {
    throw new RangeError(`a column name must have 1 to ${nameBytesMax} bytes, not "${columnName}"`);
  }
  const { length } = column;
  if (length > lengthMax) throw new RangeError(`column ${columnName} has ${length} values; at most ${lengthMax} are allowed`);
  const { kind, data } = dataOf(columnName, column);
  return { name, kind, length, data, dataBytes: data.reduce((sum, { byteLength }) => sum + byteLength, 0) };
}

function dataOf(name: string, column: Column): Pick<Part, 'kind' | 'data'> {
  if (column instanceof Float64Array) return { kind: floatKind, data: [column] };
  if (column instanceof Texts) return { kind: textKind, data: [textLengths(name, column), column.utf8().bytes] };
  const { base, width } = frameOf(column);
  const distances = base === 0 || width === 0 ? column : shifted(column, -base);
  return { kind: width, data: [Int32Array.of(base), narrowed(distances, width)] };
}

function textLengths(name: string, texts: Texts): Uint16Array {
  const lengths = new Uint16Array(texts.length);
  let start = 0;
  texts.utf8().ends.forEach((end, row) => {
    if (end - start > textBytesMax) {
      throw new RangeError(`column ${name} has a text of ${end - start} bytes; at most ${textBytesMax} are allowed`);
    }
    lengths[row] = end - start;
    start = end;
  });
  return lengths;
}

type Width = 0 | 1 | 2 | 4;

/**
 * Base and width that fit all values. Where 0 will do as the base it is taken: then the engine's own conversion between typed arrays does
 * all the work, three times as fast as a loop.
 */
function frameOf(column: Int32Array): { base: number; width: Width } {
  if (column.length === 0) return { base: 0, width: 0 };
  let least = column[0]!;
  let most = least;
  for (let row = 1; row < column.length; row++) {
    const value = column[row]!;
    if (value < least) least = value;
    else if (value > most) most = value;
  }
  if (least === most) return { base: least, width: 0 };
  const width = widthOf(most - least);
  return { base: width === 4 || (least >= 0 && widthOf(most) === width) ? 0 : least, width };
}

function widthOf(distance: number): 1 | 2 | 4 {
  return distance <= 0xff ? 1 : distance <= 0xffff ? 2 : 4;
}

function shifted(column: Int32Array, by: number): Int32Array {
  const sums = new Int32Array(column.length);
  for (let row = 0; row < column.length; row++) sums[row] = column[row]! + by;
  return sums;
}

function narrowed(column: Int32Array, width: Width): ArrayBufferView {
  if (width === 0) return new Uint8Array();
  if (width === 4) return column;
  return width === 1 ? new Uint8Array(column) : new Uint16Array(column);
}

function readInts(length: number, width: Width, view: DataView): Int32Array {
  const base = view.getInt32(0, true);
  if (width === 0) return new Int32Array(length).fill(base);
  const column = widened(view, width);
  if (base !== 0) for (let row = 0; row < length; row++) column[row]! += base;
  return column;
}

function widened(view: DataView, width: 1 | 2 | 4): Int32Array {
  if (width === 1) return new Int32Array(new Uint8Array(view.buffer, view.byteOffset + 4, view.byteLength - 4));
  const distances = copyBytes(view, 4);
  return width === 2 ? new Int32Array(new Uint16Array(distances)) : new Int32Array(distances);
}

/** A copy of the bytes from `at` on: it begins where a typed array may begin, and does not keep a whole message in memory. */
function copyBytes(view: DataView, at: number): ArrayBuffer {
  const copy = new Uint8Array(view.byteLength - at);
  copy.set(new Uint8Array(view.buffer, view.byteOffset + at, copy.length));
  return copy.buffer;
}

function readTexts(name: string, length: number, view: DataView): Texts {
  const ends = new Uint32Array(length);
  let end = 0;
  for (let row = 0; row < length; row++) {
    end += view.getUint16(2 * row, true);
    ends[row] = end;
  }
  const textBytes = view.byteLength - 2 * length;
  if (end !== textBytes) throw new MalformedTableError(`column ${name}: its texts have ${end} bytes, its data ${textBytes}`);
  return Texts.fromUtf8(new Uint8Array(copyBytes(view, 2 * length)), ends);
}

/** Where a column lies in the bytes of a table. */
interface Span {
  kind: number;
  length: number;
  start: number;
  dataStart: number;
  end: number;
}

/**
 * The table that `encodeTable` made these bytes of; with `names`, only these columns of it. Every length and kind is checked: bytes that
 * are no table, or lack a column, are a `MalformedTableError`.
 */
export function decodeTable(bytes: Uint8Array, names?: readonly string[]): Table {
  const spans = spansOf(bytes);
  const wanted = names === undefined ? [...spans] : names.map((name) => [name, spanOf(spans, name)] as const);
  return Object.fromEntries(wanted.map(([name, span]) => [name, readColumn(bytes, name, span)]));
}

/** A table of the named columns, copied as they are. Throws as `decodeTable` does, but sees nothing of the data. */
export function pickColumns(bytes: Uint8Array, names: readonly string[]): Uint8Array {
  const spans = spansOf(bytes);
  const picked = [...new Set(names)].map((name) => spanOf(spans, name));
  const table = new Uint8Array(picked.reduce((sum, { start, end }) => sum + end - start, bytesBeforeColumns));
  table[0] = format;
  table[1] = picked.length;
  let at = bytesBeforeColumns;
  for (const { start, end } of picked) {
    table.set(bytes.subarray(start, end), at);
    at += end - start;
  }
  return table;
}

function spanOf(spans: ReadonlyMap<string, Span>, name: string): Span {
  const span = spans.get(name);
  if (span === undefined)
    throw new MalformedTableError(`there is no column ${name}, only ${[...spans.keys()].join(', ') || 'none at all'}`);
  return span;
}

function spansOf(bytes: Uint8Array): Map<string, Span> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < bytesBeforeColumns) throw new MalformedTableError(`${bytes.length} bytes are no table`);
  if (bytes[0] !== format) throw new MalformedTableError(`format ${bytes[0]!} is unknown; it must be ${format}`);
  const spans = new Map<string, Span>();
  let at = bytesBeforeColumns;
  for (let column = 0; column < bytes[1]!; column++) {
    const nameBytes = bytes[at] ?? 0;
    const dataStart = at + columnHeaderBytes + nameBytes;
    if (nameBytes === 0 || dataStart > bytes.length)
      throw new MalformedTableError(`column ${column} has no name, or ends within its header`);
    const name = decodeText(bytes.subarray(at + 1, at + 1 + nameBytes));
    if (spans.has(name)) throw new MalformedTableError(`there are two columns ${name}`);
    const [kind, length, dataBytes] = [
      bytes[dataStart - 9]!,
      view.getUint32(dataStart - 8, true),
      view.getUint32(dataStart - 4, true),
    ];
    const span = { kind, length, start: at, dataStart, end: dataStart + dataBytes };
    checkSpan(name, span, bytes.length);
    spans.set(name, span);
    at = span.end;
  }
  if (at !== bytes.length) throw new MalformedTableError(`${bytes.length - at} bytes follow the last column`);
  return spans;
}

function checkSpan(name: string, { kind, length, dataStart, end }: Span, bytes: number): void {
  if (length > lengthMax) throw new MalformedTableError(`column ${name} has ${length} values; at most ${lengthMax} are allowed`);
  if (end > bytes) throw new MalformedTableError(`column ${name} ends at ${end} of ${bytes} bytes`);
  const dataBytes = end - dataStart;
  const wanted = dataBytesOf(name, kind, length);
  // How long texts are is known when their lengths are read.
  if (kind === textKind ? dataBytes < wanted : dataBytes !== wanted) {
    throw new MalformedTableError(`column ${name}: ${length} values of kind ${kind} must have ${wanted} bytes, not ${dataBytes}`);
  }
}

/** Bytes of a column's data; of texts, those of the lengths alone. */
function dataBytesOf(name: string, kind: number, length: number): number {
  if (kind === floatKind) return 8 * length;
  if (kind === textKind) return 2 * length;
  if (isWidth(kind)) return 4 + kind * length;
  throw new MalformedTableError(`column ${name} is of unknown kind ${kind}`);
}

function isWidth(kind: number): kind is Width {
  return kind === 0 || kind === 1 || kind === 2 || kind === 4;
}

function readColumn(bytes: Uint8Array, name: string, { kind, length, dataStart, end }: Span): Column {
  const view = new DataView(bytes.buffer, bytes.byteOffset + dataStart, end - dataStart);
  if (isWidth(kind)) return readInts(length, kind, view);
  return kind === floatKind ? new Float64Array(copyBytes(view, 0)) : readTexts(name, length, view);
}
