/**
 * The frame: 4 bytes, big-endian and unsigned, with the length of what follows; then that many bytes. TCP is a stream: it may cut frames and glue them
 * together as it likes (a "short read"), so the decoder takes the bytes in whatever pieces they come.
 */
import { FrameTooLargeError, TruncatedFrameError } from './errors.ts';

export const headerBytes = 4;

/** The largest length that 4 bytes can say. */
export const lengthMax = 0xffff_ffff;

/** The header of a frame whose payload has `payloadBytes` bytes, 0 to 2^32 - 1. */
export function encodeHeader(payloadBytes: number): Buffer {
  if (payloadBytes > lengthMax) throw new FrameTooLargeError(payloadBytes, lengthMax);
  const header = Buffer.allocUnsafe(headerBytes);
  header.writeUInt32BE(payloadBytes);
  return header;
}

/** A frame in one piece; the payload is copied. */
export function encodeFrame(payload: Uint8Array): Buffer {
  return Buffer.concat([encodeHeader(payload.byteLength), payload]);
}

/**
 * Makes frames of a stream. It holds at most one incomplete frame, never more than `frameBytesMax` and a header, whatever the peer announces. A payload
 * that came in one piece is a view of that piece, otherwise it is copied once.
 */
export class FrameDecoder {
  readonly #frameBytesMax: number;
  readonly #header = Buffer.alloc(headerBytes);
  #headerFilled = 0;
  #pieces: Buffer[] = [];
  #piecesBytes = 0;
  #payloadBytes: number | undefined;

  constructor({ frameBytesMax }: { frameBytesMax: number }) {
    this.#frameBytesMax = frameBytesMax;
  }

  /** In the middle of a frame: at least one of its bytes has come. */
  get midFrame(): boolean {
    return this.#headerFilled > 0;
  }

  /** Bytes held of an incomplete frame. */
  get heldBytes(): number {
    return this.#piecesBytes;
  }

  /**
   * Emits every payload that is complete with this piece of the stream. Throws `FrameTooLargeError`, after the frames before it; the stream
   * cannot be read on from there.
   */
  push(chunk: Buffer, emit: (payload: Buffer) => void): void {
    let at = 0;
    while (at < chunk.length || this.#payloadBytes === 0) {
      if (this.#payloadBytes === undefined) {
        at = this.#readHeader(chunk, at);
        continue;
      }
      const wanted = this.#payloadBytes - this.#piecesBytes;
      const piece = chunk.subarray(at, at + wanted);
      at += piece.length;
      if (piece.length < wanted) {
        this.#pieces.push(piece);
        this.#piecesBytes += piece.length;
      } else emit(this.#complete(piece));
    }
  }

  /** The stream has ended. Throws `TruncatedFrameError` when that was in the middle of a frame. */
  end(): void {
    if (!this.midFrame) return;
    const expected = this.#payloadBytes === undefined ? undefined : headerBytes + this.#payloadBytes;
    throw new TruncatedFrameError(this.#headerFilled + this.#piecesBytes, expected);
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
    if (payloadBytes > this.#frameBytesMax) throw new FrameTooLargeError(payloadBytes, this.#frameBytesMax);
    this.#payloadBytes = payloadBytes;
  }

  #complete(last: Buffer): Buffer {
    const payload = this.#pieces.length === 0 ? last : Buffer.concat([...this.#pieces, last]);
    this.#headerFilled = 0;
    this.#payloadBytes = undefined;
    this.#pieces = [];
    this.#piecesBytes = 0;
    return payload;
  }
}
