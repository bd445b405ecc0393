/**
 * Frames over a stream socket, TCP, TLS or any duplex. What comes in is an async iterable with real back-pressure: who does not read makes the
 * kernel's buffers fill, and the peer wait. What goes out is written without copying, all frames of one turn of the event loop together.
 */
import type { Duplex } from 'node:stream';
import { encodeHeader, FrameDecoder } from './codec.ts';
import {
  ConnectionClosedError,
  FrameTimeoutError,
  FrameTooLargeError,
  IdleTimeoutError,
  RequestTimeoutError,
  SendTimeoutError,
} from './errors.ts';
import { withDefaults, type Limits } from './limits.ts';
import { Requests } from './requests.ts';

/** Timeouts are noticed up to a quarter late: one coarse timer for a socket instead of one for every frame. */
const checksPerTimeout = 4;
/** No timer is rarer than this, so that a peer is never more than a quarter of a second in hand. */
const checkIntervalMsMax = 250;

const sent = Promise.resolve();

interface Waiter<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

export class FramedSocket implements AsyncIterable<Buffer> {
  readonly #socket: Duplex;
  readonly #limits: Limits;
  readonly #decoder: FrameDecoder;
  readonly #timer: NodeJS.Timeout;
  readonly #requests: Requests;

  /** Frames received and not read; `#next` is the index of the first. */
  #frames: Buffer[] = [];
  #next = 0;
  #bufferedBytes = 0;
  #reader: Waiter<IteratorResult<Buffer>> | undefined;
  #ended = false;
  #error: Error | undefined;
  #closing = false;

  #corked = false;
  #drain: (Waiter<void> & { promise: Promise<void> }) | undefined;

  /** When the peer last did what we waited for; kept at "now" while we do not wait. */
  #heardMs = performance.now();
  #frameBegunMs: number | undefined;
  #tookMs = 0;
  #unsentBytes = 0;

  /** Takes a connected socket over: nobody else may read it or write to it from now on. */
  constructor(socket: Duplex, limits?: Partial<Limits>) {
    this.#socket = socket;
    this.#limits = withDefaults(limits);
    this.#decoder = new FrameDecoder(this.#limits);
    this.#requests = new Requests((error) => this.destroy(error));
    const { idleTimeoutMs, frameTimeoutMs, sendTimeoutMs } = this.#limits;
    const shortestMs = Math.min(idleTimeoutMs, frameTimeoutMs, sendTimeoutMs);
    this.#timer = setInterval(() => this.#check(), Math.min(shortestMs / checksPerTimeout, checkIntervalMsMax)).unref();
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('end', () => this.#onEnd());
    socket.on('error', (error) => this.destroy(new ConnectionClosedError(error.message, { cause: error })));
    socket.on('close', () => this.#onClose());
    socket.on('drain', () => this.#onDrain());
  }

  /**
   * Sends one frame made of the parts, which must not be changed any more. Resolves when there is room for the next frame, which is not yet a
   * proof of delivery. Rejects with `FrameTooLargeError`, `SendTimeoutError` or `ConnectionClosedError`.
   */
  send(...parts: readonly Uint8Array[]): Promise<void> {
    let payloadBytes = 0;
    for (const part of parts) payloadBytes += part.byteLength;
    if (payloadBytes > this.#limits.frameBytesMax)
      return Promise.reject(new FrameTooLargeError(payloadBytes, this.#limits.frameBytesMax));
    if (this.#error !== undefined || this.#closing) return Promise.reject(this.#error ?? new ConnectionClosedError('by us'));
    this.#cork();
    let roomy = this.#socket.write(encodeHeader(payloadBytes));
    for (const part of parts) if (part.byteLength > 0) roomy = this.#socket.write(part);
    return roomy ? sent : this.#drained();
  }

  /**
   * Sends a frame and resolves with the peer's reply to it. Many may be under way: replies come in the order of the requests. After `timeoutMs`
   * the connection is closed and all requests under way fail. Not to be mixed with iterating.
   */
  request(payload: Uint8Array, { timeoutMs }: { timeoutMs: number }): Promise<Buffer> {
    const reply = this.#requests.add(timeoutMs);
    this.send(payload).catch((error: unknown) => this.#requests.fail(error));
    return reply;
  }

  /** The frames as they arrive, for one reader. Ends when the peer has ended its side or we close; throws what broke the connection, after the frames before it. */
  [Symbol.asyncIterator](): AsyncIterator<Buffer> {
    return { next: () => this.#read(), return: () => Promise.resolve({ done: true, value: undefined }) };
  }

  /**
   * Sends what is waiting, ends our side, and waits until the peer has ended its own, at most `closeTimeoutMs`. Frames that still arrive
   * are dropped.
   */
  async close(): Promise<void> {
    this.#closing = true;
    this.#finishReading();
    if (this.#socket.destroyed) return;
    const closed = new Promise<void>((resolve) => this.#socket.once('close', resolve));
    const late = setTimeout(() => this.#socket.destroy(), this.#limits.closeTimeoutMs);
    this.#uncork();
    this.#socket.end(() => {
      if (this.#ended) this.#socket.destroy();
    });
    this.#socket.resume();
    await closed;
    clearTimeout(late);
  }

  /** Drops the connection at once; the reader and all senders get the error. */
  destroy(error: Error = new ConnectionClosedError('by us')): void {
    if (this.#error === undefined && !this.#closing) this.#error = error;
    this.#socket.destroy();
    this.#fail(error);
  }

  // Receiving.

  #receive(chunk: Buffer): void {
    if (this.#closing) return;
    this.#heardMs = performance.now();
    try {
      this.#decoder.push(chunk, this.#emit);
    } catch (error) {
      return this.destroy(error as Error);
    }
    if (this.#decoder.midFrame) this.#frameBegunMs ??= this.#heardMs;
    if (this.#bufferedBytes > this.#limits.bufferedBytesMax) this.#socket.pause();
  }

  readonly #emit = (frame: Buffer): void => {
    this.#frameBegunMs = undefined;
    if (this.#requests.answer(frame)) return;
    const reader = this.#reader;
    if (reader !== undefined) {
      this.#reader = undefined;
      reader.resolve({ done: false, value: frame });
    } else {
      this.#frames.push(frame);
      this.#bufferedBytes += frame.byteLength;
    }
  };

  #read(): Promise<IteratorResult<Buffer>> {
    const frame = this.#frames[this.#next];
    if (frame !== undefined) return Promise.resolve({ done: false, value: this.#take(frame) });
    if (this.#closing) return Promise.resolve({ done: true, value: undefined });
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    this.#heardMs = performance.now();
    return new Promise((resolve, reject) => (this.#reader = { resolve, reject }));
  }

  #take(frame: Buffer): Buffer {
    this.#next += 1;
    this.#bufferedBytes -= frame.byteLength;
    if (this.#next === this.#frames.length) {
      this.#frames = [];
      this.#next = 0;
    }
    if (this.#socket.isPaused() && this.#bufferedBytes <= this.#limits.bufferedBytesMax / 2) {
      this.#heardMs = performance.now();
      if (this.#frameBegunMs !== undefined) this.#frameBegunMs = this.#heardMs;
      this.#socket.resume();
    }
    return frame;
  }

  /** The peer sends no more. It may still read: half of the connection stays open until we close it. */
  #onEnd(): void {
    try {
      this.#decoder.end();
    } catch (error) {
      if (!this.#closing) return this.destroy(error as Error);
    }
    this.#ended = true;
    this.#requests.fail(new ConnectionClosedError('the peer has ended it'));
    this.#finishReading();
    if (this.#closing) this.#socket.destroy();
  }

  #finishReading(): void {
    this.#reader?.resolve({ done: true, value: undefined });
    this.#reader = undefined;
  }

  // Sending.

  /** Holds back writes until the end of this turn, so that small frames travel together. */
  #cork(): void {
    if (this.#corked) return;
    this.#corked = true;
    this.#socket.cork();
    process.nextTick(() => this.#uncork());
  }

  #uncork(): void {
    if (!this.#corked) return;
    this.#corked = false;
    this.#socket.uncork();
  }

  #drained(): Promise<void> {
    if (this.#drain === undefined) {
      this.#drain = Promise.withResolvers<void>();
      this.#drain.promise.catch(() => {});
      this.#tookMs = performance.now();
      this.#unsentBytes = this.#socket.writableLength;
    }
    return this.#drain.promise;
  }

  #onDrain(): void {
    this.#drain?.resolve();
    this.#drain = undefined;
  }

  // The end, and its reasons.

  #check(): void {
    const nowMs = performance.now();
    const { idleTimeoutMs, frameTimeoutMs, sendTimeoutMs } = this.#limits;
    const waiting = this.#reader !== undefined || this.#requests.waiting;
    if (!waiting) this.#heardMs = nowMs;
    if (nowMs - this.#heardMs > idleTimeoutMs) return this.destroy(new IdleTimeoutError(idleTimeoutMs));
    if (this.#socket.isPaused() && this.#frameBegunMs !== undefined) this.#frameBegunMs = nowMs;
    if (nowMs - (this.#frameBegunMs ?? nowMs) > frameTimeoutMs) return this.destroy(new FrameTimeoutError(frameTimeoutMs));
    if (this.#drain === undefined) return;
    if (this.#socket.writableLength < this.#unsentBytes) this.#tookMs = nowMs;
    this.#unsentBytes = this.#socket.writableLength;
    if (nowMs - this.#tookMs > sendTimeoutMs) this.destroy(new SendTimeoutError(sendTimeoutMs, this.#unsentBytes));
  }

  #onClose(): void {
    clearInterval(this.#timer);
    const error = this.#error ?? new ConnectionClosedError(this.#closing ? 'by us' : 'by the peer');
    if (!this.#ended) this.#error ??= error;
    this.#fail(error);
  }

  #fail(error: Error): void {
    this.#drain?.reject(error);
    this.#drain = undefined;
    this.#requests.fail(error);
    if (this.#closing || this.#ended) this.#finishReading();
    this.#reader?.reject(error);
    this.#reader = undefined;
  }
}
