import type { Socket } from 'node:net';

/** What one writes by hand in an hour: the same frames, no limits, no timeouts, no errors. */
export class RawFrames {
  readonly #onFrame: (payload: Buffer) => void;
  #rest: Buffer | undefined;
  #pieces: Buffer[] = [];
  #bytes = 0;

  constructor(onFrame: (payload: Buffer) => void) {
    this.#onFrame = onFrame;
  }

  push(chunk: Buffer): void {
    this.#pieces.push(chunk);
    this.#bytes += chunk.length;
    if (this.#rest === undefined) this.#rest = this.#pieces[0]!;
    if (this.#bytes < 4 || (this.#rest.length >= 4 && this.#bytes < 4 + this.#rest.readUInt32BE(0))) return;
    const all = this.#pieces.length === 1 ? chunk : Buffer.concat(this.#pieces);
    let at = 0;
    while (all.length - at >= 4) {
      const end = at + 4 + all.readUInt32BE(at);
      if (end > all.length) break;
      this.#onFrame(all.subarray(at + 4, end));
      at = end;
    }
    this.#rest = at < all.length ? all.subarray(at) : undefined;
    this.#pieces = this.#rest === undefined ? [] : [this.#rest];
    this.#bytes = all.length - at;
  }

  send(socket: Socket, payload: Buffer): boolean {
    const header = Buffer.allocUnsafe(4);
    header.writeUInt32BE(payload.length);
    socket.cork();
    socket.write(header);
    const roomy = socket.write(payload);
    process.nextTick(() => socket.uncork());
    return roomy;
  }
}
