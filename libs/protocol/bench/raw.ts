import type { Socket } from 'node:net';

/** Room for as much as our sockets have, so that neither is faster by buffering more. */
export const rawHighWaterMark = 1024 * 1024;

/** Below this one buffer is cheaper to write than two; as in the library. */
const copiedBytesMax = 1024;

/** What one writes by hand, knowing how: the same frames, one copy at most; no limits, no timeouts, no errors, no iterator, no promises. */
export class RawFrames {
  readonly #socket: Socket;
  readonly #header = Buffer.alloc(4);
  #headerFilled = 0;
  #payload: Buffer | undefined;
  #filled = 0;
  #corked = false;

  constructor(socket: Socket, onFrame: (payload: Buffer) => void) {
    this.#socket = socket;
    socket.on('data', (chunk) => this.#push(chunk, onFrame));
  }

  /** False when the caller should wait for `drain`. */
  send(payload: Buffer): boolean {
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.#socket.uncork();
      });
    }
    const small = payload.length <= copiedBytesMax;
    const header = Buffer.allocUnsafe(small ? 4 + payload.length : 4);
    header.writeUInt32BE(payload.length);
    if (small) header.set(payload, 4);
    const room = this.#socket.write(header);
    return small ? room : this.#socket.write(payload);
  }

  #push(chunk: Buffer, onFrame: (payload: Buffer) => void): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#payload !== undefined) {
        const copied = chunk.copy(this.#payload, this.#filled, at);
        this.#filled += copied;
        at += copied;
        if (this.#filled < this.#payload.length) return;
        const payload = this.#payload;
        this.#payload = undefined;
        onFrame(payload);
        continue;
      }
      let payloadBytes: number;
      if (this.#headerFilled === 0 && chunk.length - at >= 4) {
        payloadBytes = chunk.readUInt32BE(at);
        at += 4;
      } else {
        const copied = chunk.copy(this.#header, this.#headerFilled, at, at + 4 - this.#headerFilled);
        this.#headerFilled += copied;
        at += copied;
        if (this.#headerFilled < 4) return;
        payloadBytes = this.#header.readUInt32BE();
        this.#headerFilled = 0;
      }
      if (chunk.length - at >= payloadBytes) {
        onFrame(chunk.subarray(at, at + payloadBytes));
        at += payloadBytes;
      } else {
        this.#payload = Buffer.allocUnsafeSlow(payloadBytes);
        this.#filled = 0;
      }
    }
  }
}
