/**
 * Content-defined chunking: a file is cut where its content says so, so that what is put in or taken out changes the chunks
 * around it and no others. FastCDC (Xia et al., USENIX ATC 2016): a gear hash rolls over the bytes, and a cut is where some of
 * its bits are zero; more bits before the wanted size, fewer after it, so that most chunks are near it.
 */
import { blobBytesMax } from './bundle.ts';

export interface ChunkSizes {
  /** No cut before so many bytes. */
  min: number;
  /** About the middle of the sizes; a power of two. */
  average: number;
  /** A cut at the latest. */
  max: number;
}

/** Of files: few enough chunks that naming them costs nothing, small enough that an append sends little again. */
export const fileChunks: ChunkSizes = { min: 512 * 1024, average: 1024 * 1024, max: blobBytesMax };
/** Of manifests: a changed file touches one line, and so one small chunk. */
export const manifestChunks: ChunkSizes = { min: 16 * 1024, average: 64 * 1024, max: 256 * 1024 };

/** 256 numbers as good as random, the same everywhere and for ever: other numbers would cut, and so store, everything anew. */
const gear = makeGear();

function makeGear(): Int32Array {
  let state = 0x9e3779b9;
  return Int32Array.from({ length: 256 }, () => {
    // Marsaglia's xorshift32 (2003), twice a number.
    for (let round = 0; round < 2; round++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
    }
    return state;
  });
}

/** `bits` ones at the top of 32: the hash moves left, so its high bits have seen the most bytes. */
const topBits = (bits: number): number => (bits === 0 ? 0 : -1 << (32 - bits));

/** The end of the first chunk of `bytes`, which hold `max` bytes or all that is left. */
export function cutAt(bytes: Uint8Array, sizes: ChunkSizes): number {
  const { min, average, max } = sizes;
  if (bytes.length <= min) return bytes.length;
  const bits = Math.log2(average - min + 1) | 0;
  const end = Math.min(bytes.length, max);
  const middle = Math.min(end, average);
  let hash = 0;
  let at = min;
  const [hard, easy] = [topBits(bits + 1), topBits(bits - 1)];
  for (; at < middle; at++) {
    hash = ((hash << 1) + gear[bytes[at]!]!) | 0;
    if ((hash & hard) === 0) return at + 1;
  }
  for (; at < end; at++) {
    hash = ((hash << 1) + gear[bytes[at]!]!) | 0;
    if ((hash & easy) === 0) return at + 1;
  }
  return end;
}

/** All chunks of something that is in memory. */
export function* chunksIn(bytes: Uint8Array, sizes: ChunkSizes): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length;) {
    const length = cutAt(bytes.subarray(at, at + sizes.max), sizes);
    yield bytes.subarray(at, at + length);
    at += length;
  }
}
