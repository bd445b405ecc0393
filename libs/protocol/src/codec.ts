/**
 * The frame: 4 bytes, big-endian and unsigned, with the length of what follows; then that many bytes. TCP is a stream: it may cut frames and glue them
 * together as it likes (a "short read"), so the decoder takes the bytes in whatever pieces they come.
 */
import { release } from '@lab/process/release';
import { FrameTooLargeError, TruncatedFrameError } from './errors.ts';

/** Bytes before the payload. */
export const headerBytes = 4;

/** The largest length that 4 bytes can say. */
const lengthMax = 0xffff_ffff;

const empty = Buffer.alloc(0);

/** The header of a frame whose payload has `payloadBytes` bytes, an integer from 0 to 2^32 - 1; above, it throws `FrameTooLargeError`. */
export function encodeHeader(payloadBytes: number): Buffer {
  checkLength(payloadBytes);
  const header = Buffer.allocUnsafe(headerBytes);
  header.writeUInt32BE(payloadBytes);
  return header;
}

/** A frame in one piece; the payload, or the parts it is made of, is copied. */
export function encodeFrame(...parts: readonly Uint8Array[]): Buffer {
  const payloadBytes = lengthOf(parts);
  checkLength(payloadBytes);
  const frame = Buffer.allocUnsafe(headerBytes + payloadBytes);
  writeFrame(frame, 0, payloadBytes, parts);
  return frame;
}

/** Writes a header, and the parts behind it, into a buffer with room for them; returns the index behind. */
export function writeFrame(target: Buffer, at: number, payloadBytes: number, parts: readonly Uint8Array[]): number {
  let index = target.writeUInt32BE(payloadBytes, at);
  for (const part of parts) {
    target.set(part, index);
    index += part.byteLength;
  }
  return index;
}

export function lengthOf(parts: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const part of parts) bytes += part.byteLength;
  return bytes;
}

function checkLength(payloadBytes: number): void {
  if (payloadBytes > lengthMax) throw new FrameTooLargeError(payloadBytes, lengthMax);
}

/** The least that is allocated for an incomplete payload, or all of one that is shorter: about one piece of a stream as sockets deliver them. */
const allocationBytesMin = 64 * 1024;
/** Memory follows what has come, not what was announced: at most this many times as much. A larger factor copies less. */
const growth = 4;

/**
 * Makes frames of a stream. It holds at most one incomplete payload, in one buffer: never more than `frameBytesMax`, nor than four times what has come
 * of it or 64 KiB, whatever the peer announces and however small the pieces are. Every byte is copied less than 1.4 times on average, and not at
 * all where a payload comes in one piece: it is then a view of that piece, and who keeps a few bytes of it for long should copy them.
 */
export class FrameDecoder {
  /** May be changed: it is for the headers that are still to come. */
  frameBytesMax: number;
  readonly #ownsPieces: boolean;
  readonly #header = Buffer.alloc(headerBytes);
  #headerFilled = 0;
  /** Of the frame whose header has been read. */
  #payloadBytes: number | undefined;
  #partial = empty;
  #filled = 0;

  /** Where the pieces are nobody else's, the memory of one of which no payload is a view is given back at once. */
  constructor({ frameBytesMax, ownsPieces = false }: { frameBytesMax: number; ownsPieces?: boolean }) {
    this.frameBytesMax = frameBytesMax;
    this.#ownsPieces = ownsPieces;
  }

  /** In the middle of a frame: at least one of its bytes has come. */
  get midFrame(): boolean {
    return this.#headerFilled > 0;
  }

  /** Bytes allocated for an incomplete payload. */
  get heldBytes(): number {
    return this.#partial.length;
  }

  /**
   * Emits every payload that is complete with this piece of the stream. Throws `FrameTooLargeError`, after the frames before it; the stream
   * cannot be read on from there.
   */
  push(chunk: Buffer, emit: (payload: Buffer) => void): void {
    if (!this.#decode(chunk, emit) && this.#ownsPieces) release(chunk);
  }

  /** Says whether a payload is a view of the piece. */
  #decode(chunk: Buffer, emit: (payload: Buffer) => void): boolean {
    let isSeen = false;
    let at = 0;
    while (at < chunk.length) {
      if (this.#payloadBytes === undefined) at = this.#readHeader(chunk, at);
      if (this.#payloadBytes === undefined) break;
      const end = at + this.#payloadBytes - this.#filled;
      if (end > chunk.length) {
        this.#hold(chunk.subarray(at));
        break;
      }
      isSeen ||= this.#filled === 0;
      emit(this.#complete(chunk.subarray(at, end)));
      at = end;
    }
    return isSeen;
  }

  /** The stream has ended. Throws `TruncatedFrameError` when that was in the middle of a frame. */
  end(): void {
    if (!this.midFrame) return;
    const expected = this.#payloadBytes === undefined ? undefined : headerBytes + this.#payloadBytes;
    throw new TruncatedFrameError(this.#headerFilled + this.#filled, expected);
  }

  #readHeader(chunk: Buffer, at: number): number {
    if (this.#headerFilled === 0 && chunk.length - at >= headerBytes) {
      this.#headerFilled = headerBytes;
      this.#begin(chunk.readUInt32BE(at));
      return at + headerBytes;
    }
    const copied = chunk.copy(this.#header, this.#headerFilled, at, at + headerBytes - this.#headerFilled);
    this.#headerFilled += copied;
    if (this.#headerFilled === headerBytes) this.#begin(this.#header.readUInt32BE());
    return at + copied;
  }

  #begin(payloadBytes: number): void {
    if (payloadBytes > this.frameBytesMax) throw new FrameTooLargeError(payloadBytes, this.frameBytesMax);
    this.#payloadBytes = payloadBytes;
  }

  #hold(piece: Buffer): void {
    const filled = this.#filled + piece.length;
    if (filled > this.#partial.length) {
      const capacity = Math.min(this.#payloadBytes!, Math.max(allocationBytesMin, filled * growth));
      const larger = Buffer.allocUnsafeSlow(capacity);
      this.#partial.copy(larger, 0, 0, this.#filled);
      release(this.#partial);
      this.#partial = larger;
    }
    piece.copy(this.#partial, this.#filled);
    this.#filled = filled;
  }

  #complete(last: Buffer): Buffer {
    let payload = last;
    if (this.#filled > 0) {
      this.#hold(last);
      payload = this.#partial;
    }
    this.#headerFilled = 0;
    this.#payloadBytes = undefined;
    this.#partial = empty;
    this.#filled = 0;
    return payload;
  }
}
