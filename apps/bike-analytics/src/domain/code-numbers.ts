/**
 * Numbers the station codes of a batch in order of appearance: its dictionary. Codes of up to 6 ASCII bytes, that is nearly all, are told apart by
 * two integers in an open-addressing hash table, without making strings; it takes a third of the time of a `Map`.
 */
import { Texts } from './table.ts';

/** Words of a slot: length and bytes 0 to 2, bytes 3 to 5, number, batch. A slot of another batch is free, so that none is ever cleared. */
const slotWords = 4;
const slotsAtFirst = 2048;
const shortBytesMax = 6;
/** No code is that long; a text that is has lost its comma or its quote. */
const codeBytesMax = 1000;

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** Why the bytes cannot be a code; undefined if they can. No bytes at all are a code: it joins nothing. */
export function codeProblem(bytes: Uint8Array, from: number, to: number): string | undefined {
  if (isShort(bytes, from, to)) return undefined;
  if (to - from > codeBytesMax) return `has more than ${codeBytesMax} bytes`;
  try {
    decoder.decode(bytes.subarray(from, to));
    return undefined;
  } catch {
    return 'is not valid UTF-8';
  }
}

function isShort(bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from > shortBytesMax) return false;
  let all = 0;
  for (let at = from; at < to; at++) all |= bytes[at]!;
  return all < 0x80;
}

export class CodeNumbers {
  #slots = new Int32Array(slotsAtFirst * slotWords);
  /** Never 0, which is what new slots have. */
  #batch = 1;
  /** Where each code ends in the bytes; only the first `#size` count. */
  #ends = new Uint32Array(slotsAtFirst);
  #bytes = new Uint8Array(8 * slotsAtFirst);
  #size = 0;
  readonly #long = new Map<string, number>();

  /** The number of a code, which must have no `codeProblem`: the next if it is new. */
  numberOf(bytes: Uint8Array, from: number, to: number): number {
    if (!isShort(bytes, from, to)) return this.#longNumberOf(bytes, from, to);
    let high = (to - from) << 24;
    let low = 0;
    // Bytes beyond the code's end count as zeros; its length is in the key.
    for (let at = from; at < to; at++) {
      if (at - from < 3) high |= bytes[at]! << (8 * (2 - (at - from)));
      else low = (low << 8) | bytes[at]!;
    }
    const at = this.#find(high, low);
    const slots = this.#slots;
    if (slots[at + 3] === this.#batch) return slots[at + 2]!;
    slots[at] = high;
    slots[at + 1] = low;
    slots[at + 2] = this.#size;
    slots[at + 3] = this.#batch;
    return this.#append(bytes.subarray(from, to));
  }

  /** The codes by their numbers; the next code begins a new batch. */
  take(): Texts {
    const ends = this.#ends.slice(0, this.#size);
    const texts = Texts.fromUtf8(this.#bytes.slice(0, ends.at(-1) ?? 0), ends);
    this.#batch++;
    this.#size = 0;
    this.#long.clear();
    return texts;
  }

  #longNumberOf(bytes: Uint8Array, from: number, to: number): number {
    const text = decoder.decode(bytes.subarray(from, to));
    const known = this.#long.get(text);
    if (known !== undefined) return known;
    this.#long.set(text, this.#size);
    return this.#append(encoder.encode(text));
  }

  #append(code: Uint8Array): number {
    const start = this.#size === 0 ? 0 : this.#ends[this.#size - 1]!;
    if (start + code.length > this.#bytes.length) this.#bytes = grown(this.#bytes, new Uint8Array(2 * (start + code.length)));
    this.#bytes.set(code, start);
    this.#ends[this.#size] = start + code.length;
    this.#size += 1;
    // At half, runs of taken slots stay short. A code that is not in the slots costs no more than room.
    if (this.#size === this.#ends.length / 2) this.#grow();
    return this.#size - 1;
  }

  /** Where the key is, or the free slot where it would be: linear probing from the place that its hash names. */
  #find(high: number, low: number): number {
    const slots = this.#slots;
    // Multiplicative hashing (Knuth): the top bits depend on every bit below. Each factor is an odd constant with well-spread bits.
    const hash = Math.imul(Math.imul(high, 0x9e3779b1) ^ low, 0x85ebca6b);
    const mask = slots.length - 1;
    let at = ((hash ^ (hash >>> 15)) * slotWords) & mask;
    while (slots[at + 3] === this.#batch && (slots[at] !== high || slots[at + 1] !== low)) at = (at + slotWords) & mask;
    return at;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Int32Array(2 * old.length);
    this.#ends = grown(this.#ends, new Uint32Array(2 * this.#ends.length));
    for (let at = 0; at < old.length; at += slotWords) {
      if (old[at + 3] === this.#batch) this.#slots.set(old.subarray(at, at + slotWords), this.#find(old[at]!, old[at + 1]!));
    }
  }
}

function grown<T extends Uint8Array | Uint32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
