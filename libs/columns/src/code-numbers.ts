/**
 * Numbers the station codes of a batch in order of appearance: its dictionary. Codes of up to 8 ASCII bytes, that is nearly all, are told apart
 * by two integers in a `PairMap`, without making strings.
 */
import { PairMap } from './pair-map.ts';
import { Texts } from './table.ts';

const codesAtFirst = 2048;
const shortBytesMax = 8;
/** No code is that long; a text that is has lost its comma or its quote. */
const codeBytesMax = 1000;

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Why the bytes cannot be a code; undefined if they can. No bytes at all are a code: it joins nothing. */
export function codeProblem(bytes: Uint8Array, from: number, to: number): string | undefined {
  if (to - from > codeBytesMax) return `has more than ${codeBytesMax} bytes`;
  try {
    decoder.decode(bytes.subarray(from, to));
    return undefined;
  } catch {
    return 'is not valid UTF-8';
  }
}

export class CodeNumbers {
  /** By a short code, its number and 1: half empty at first, so that it is found at once. */
  readonly #short = new PairMap(2 * codesAtFirst);
  /** The codes one after the other, and where each ends; there are `#size` of them. */
  #bytes = new Uint8Array(8 * codesAtFirst);
  #ends = new Uint32Array(codesAtFirst);
  #size = 0;
  readonly #long = new Map<string, number>();

  /** The number of a code, which must have no `codeProblem`: the next number if it is new. */
  numberOf(bytes: Uint8Array, from: number, to: number): number {
    if (to - from > shortBytesMax) return this.#numberOfLong(bytes.subarray(from, to));
    let high = 0;
    let low = 0;
    for (let at = from; at < to; at++) {
      const byte = bytes[at]!;
      if (byte === 0 || byte >= 0x80) return this.#numberOfLong(bytes.subarray(from, to));
      high = (high << 8) | (low >>> 24);
      low = (low << 8) | byte;
    }
    return this.numberOfShort(high, low);
  }

  /** The same of up to 8 bytes from 1 to 127, as a big-endian number in two words: without a zero byte in it, it says how long the code is. */
  numberOfShort(high: number, low: number): number {
    const known = this.#short.get(high, low);
    if (known > 0) return known - 1;
    this.#short.add(high, low, this.#size + 1);
    return this.#append(bytesOf(high, low));
  }

  /** The codes by their numbers; the next code begins a new batch. */
  take(): Texts {
    const ends = this.#ends.slice(0, this.#size);
    const texts = Texts.fromUtf8(this.#bytes.slice(0, ends.at(-1) ?? 0), ends);
    this.#size = 0;
    this.#short.clear();
    this.#long.clear();
    return texts;
  }

  /** Of all codes of this batch so far. */
  get bytes(): number {
    return this.#size === 0 ? 0 : this.#ends[this.#size - 1]!;
  }

  #numberOfLong(code: Uint8Array): number {
    const text = decoder.decode(code);
    const known = this.#long.get(text);
    if (known !== undefined) return known;
    this.#long.set(text, this.#size);
    return this.#append(code);
  }

  #append(code: ArrayLike<number>): number {
    const start = this.#size === 0 ? 0 : this.#ends[this.#size - 1]!;
    const end = start + code.length;
    if (end > this.#bytes.length) this.#bytes = grown(this.#bytes, new Uint8Array(2 * end));
    if (this.#size === this.#ends.length) this.#ends = grown(this.#ends, new Uint32Array(2 * this.#size));
    this.#bytes.set(code, start);
    this.#ends[this.#size] = end;
    this.#size += 1;
    return this.#size - 1;
  }
}

function bytesOf(high: number, low: number): number[] {
  const bytes = [high >>> 24, high >>> 16, high >>> 8, high, low >>> 24, low >>> 16, low >>> 8, low].map((word) => word & 0xff);
  return bytes.filter((byte) => byte !== 0);
}

function grown<T extends Uint8Array | Uint32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
