/**
 * Frames over a stream socket, TCP, TLS or any duplex. What comes in is an async iterable with real back-pressure: who does not read makes the
 * kernel's buffers fill, and the peer wait. What goes out is written without copying (but small frames, where a copy is cheaper), all frames of one
 * turn of the event loop together.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Fifo } from '@lab/process/fifo';
import { release } from '@lab/process/release';
import { systemClock, type Clock } from '@lab/process/time';
import { FrameDecoder, headerBytes, lengthOf, writeFrame } from './codec.ts';
import {
  ConnectionClosedError,
  FrameTimeoutError,
  FrameTooLargeError,
  IdleTimeoutError,
  SendTimeoutError,
  type FramingError,
} from './errors.ts';
import { wordsOf } from './keys.ts';
import { checkRange, timerMsMax, withDefaults, type Limits } from './limits.ts';
import { Requests } from './requests.ts';

/** Timeouts are noticed up to a quarter late: one coarse timer for a socket instead of one for every frame. */
const checksPerTimeout = 4;
/** No timer is rarer than this, so that a peer is never more than a quarter of a second in hand. */
const checkIntervalMsMax = 250;

/** What a waiting frame costs beside its bytes, about: without it a flood of empty frames would cost nothing and never be held up. */
const waitingFrameBytes = 128;

/** Larger payloads are written as they are: from about here on a copy costs more than an entry in a gathered write. */
const copiedBytesMax = 1024;
/** Small frames of one turn go out as one piece of up to this size, which costs the kernel far less than many small ones. Held for each socket. */
const batchBytes = 16 * 1024;

const sent = Promise.resolve();
const over: IteratorResult<Buffer> = { done: true, value: undefined };

interface Waiter<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

export class FramedSocket implements AsyncIterable<Buffer> {
  readonly #socket: Duplex;
  #limits: Limits;
  readonly #decoder: FrameDecoder;
  readonly #clock: Clock;
  readonly #stopChecks: () => void;
  readonly #requests: Requests;

  /** Frames received and not yet read. */
  readonly #frames = new Fifo<Buffer>();
  #waitingBytes = 0;
  #reader: Waiter<IteratorResult<Buffer>> | undefined;
  /** The peer has sent a whole frame. */
  #heard = false;
  /** The peer has ended its side, after a whole frame. */
  #ended = false;
  #cancelStop: () => void = () => {};
  #closing = false;
  /** What broke the connection. */
  #error: Error | undefined;

  #corked = false;
  /** When the turn of the event loop began to send: one look at the clock for all its requests, whose times count from here. */
  #turnMs = 0;
  /** Bytes up to `#batchFrom` have been written, those up to `#batchTo` wait for the end of the turn. */
  #batch = Buffer.alloc(0);
  #batchFrom = 0;
  #batchTo = 0;
  #drain: (Waiter<void> & { promise: Promise<void> }) | undefined;

  /** When the peer last did what we waited for; kept at "now" while we do not wait. */
  #heardMs: number;
  #frameBegunMs: number | undefined;
  #tookMs = 0;
  #unsentBytes = 0;

  /** Takes a connected socket over, one with `allowHalfOpen`: nobody else may read it or write to it from now on. All timeouts are on the clock. */
  constructor(socket: Duplex, limits?: Partial<Limits>, clock: Clock = systemClock) {
    this.#socket = socket;
    this.#clock = clock;
    this.#heardMs = clock.nowMs();
    this.#limits = withDefaults(limits);
    // What comes from the kernel is nobody else's.
    const { receivedBytesMax } = this.#limits;
    this.#decoder = new FrameDecoder({ frameBytesMax: receivedBytesMax, ownsPieces: socket instanceof Socket });
    this.#requests = new Requests(clock, (error) => this.destroy(error));
    const { idleTimeoutMs, frameTimeoutMs, sendTimeoutMs } = this.#limits;
    const shortestMs = Math.min(idleTimeoutMs, frameTimeoutMs, sendTimeoutMs);
    this.#stopChecks = clock.every(Math.min(shortestMs / checksPerTimeout, checkIntervalMsMax), () => this.#check());
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('end', () => this.#onEnd());
    socket.on('error', (error) => this.destroy(new ConnectionClosedError(wordsOf(error), { cause: error })));
    socket.on('close', () => this.#onClose());
    socket.on('drain', () => this.#onDrain());
  }

  /**
   * Sends one frame made of the parts, which must not be changed any more. Resolves when there is room for the next frame, which is not yet a
   * proof of delivery; who sends without waiting for that holds the frames in memory. Rejects with `FrameTooLargeError` (the connection goes on),
   * `SendTimeoutError` or `ConnectionClosedError`. Still possible after the peer has ended its own side.
   */
  send(...parts: readonly Uint8Array[]): Promise<void> {
    return this.#send(parts);
  }

  /** As `send`; the parts are the socket's from now on, which gives their memory back when the kernel has them. */
  give(...parts: readonly Uint8Array[]): Promise<void> {
    return this.#send(parts, this.#socket instanceof Socket ? release : undefined);
  }

  #send(parts: readonly Uint8Array[], after?: (part: Uint8Array) => void): Promise<void> {
    const payloadBytes = lengthOf(parts);
    const refusal = this.#refusal(payloadBytes);
    if (refusal !== undefined) return Promise.reject(refusal);
    return this.#write(parts, payloadBytes, after) ? sent : this.#drained();
  }

  /**
   * Sends a frame and resolves with the peer's reply to it. Many may be in flight: replies come in the order of the requests. After `timeoutMs`
   * (at most 24 days; a `RangeError` is thrown otherwise) it rejects with `RequestTimeoutError`, the connection is closed and all requests in
   * flight fail, for the order of the replies is lost. What is left of a deadline may be given as it is: at 0 or below it is too late at once.
   * While requests are in flight no frame reaches the iterator.
   */
  request(payload: Uint8Array, { timeoutMs }: { timeoutMs: number }): Promise<Buffer> {
    checkRange('timeoutMs', timeoutMs, -Infinity, timerMsMax);
    const refusal =
      this.#refusal(payload.byteLength) ?? (this.#ended ? closedBefore('by the peer, which can not reply') : undefined);
    if (refusal !== undefined) return Promise.reject(refusal);
    if (!this.#write([payload], payload.byteLength)) void this.#drained();
    if (!this.#awaited) this.#heardMs = this.#turnMs;
    return this.#requests.add(timeoutMs, this.#turnMs);
  }

  /**
   * The frames as they arrive, for one reader at a time. Ends when the peer has ended its side or we close; throws what broke the connection, after
   * the frames before it. Leaving a loop keeps the connection, and another loop goes on with the next frame.
   */
  [Symbol.asyncIterator](): AsyncIterator<Buffer> {
    return { next: () => this.#read(), return: () => Promise.resolve(over) };
  }

  /**
   * Sends what is waiting, ends our side, and waits until the peer has ended its own, at most `closeTimeoutMs`, then drops it. Frames that still
   * arrive are dropped, and requests in flight fail. Resolves at once where the connection is gone already. Rejects with `SendTimeoutError` or
   * `ConnectionClosedError` where not everything went out.
   */
  async close(): Promise<void> {
    this.#closing = true;
    this.#finishReading();
    this.#requests.fail(new ConnectionClosedError('by us'));
    if (this.#socket.destroyed) return;
    const closed = new Promise<void>((resolve) => this.#socket.once('close', () => resolve()));
    const cancelDeadline = this.#clock.after(this.#limits.closeTimeoutMs, () => this.destroy(this.#lateToClose()));
    this.#uncork();
    this.#socket.end(() => {
      if (this.#ended) this.#socket.destroy();
    });
    this.#socket.resume();
    await closed;
    cancelDeadline();
    if (!this.#socket.writableFinished) throw this.#error ?? new ConnectionClosedError('by the peer');
  }

  /** Drops the connection at once; the reader, all senders and all requests get the error. */
  destroy(error: Error = new ConnectionClosedError('by us')): void {
    this.#error ??= error;
    this.#socket.destroy();
    this.#settle(error);
  }

  /** What the frames travel on: to ask who the peer is (a `TLSSocket` knows its certificate), never to read or to write. */
  get stream(): Duplex {
    return this.#socket;
  }

  /** Whether a whole frame has come, ever. */
  get hasHeard(): boolean {
    return this.#heard;
  }

  /** Whether somebody reads, and has to wait for the peer. */
  get isWaiting(): boolean {
    return this.#reader !== undefined;
  }

  /** Other limits from now on, as for a peer that has said who it is; that of a frame holds from the next one on. Throws as the constructor does. */
  limit(limits: Partial<Limits>): void {
    this.#limits = withDefaults({ ...this.#limits, ...limits });
    this.#decoder.frameBytesMax = this.#limits.receivedBytesMax;
  }

  // Receiving.

  #receive(chunk: Buffer): void {
    if (this.#closing || this.#error !== undefined) return;
    this.#heardMs = this.#clock.nowMs();
    try {
      this.#decoder.push(chunk, this.#emit);
    } catch (error) {
      return this.#stopReading(error as FrameTooLargeError);
    }
    if (this.#decoder.midFrame) this.#frameBegunMs ??= this.#heardMs;
    if (this.#waitingBytes > this.#limits.bufferedBytesMax) this.#socket.pause();
  }

  /** Nothing can be read any more. Who reads learns why; he has the time of a close for a last word. */
  #stopReading(error: FrameTooLargeError): void {
    if (this.#requests.waiting) return this.destroy(error);
    this.#error = error;
    this.#frameBegunMs = undefined;
    this.#socket.pause();
    this.#reader?.reject(error);
    this.#reader = undefined;
    this.#cancelStop = this.#clock.after(this.#limits.closeTimeoutMs, () => this.destroy(error));
  }

  readonly #emit = (frame: Buffer): void => {
    this.#frameBegunMs = undefined;
    this.#heard = true;
    if (this.#requests.answer(frame)) return;
    const reader = this.#reader;
    if (reader !== undefined) {
      this.#reader = undefined;
      reader.resolve({ done: false, value: frame });
    } else {
      this.#frames.push(frame);
      this.#waitingBytes += frame.byteLength + waitingFrameBytes;
    }
  };

  #read(): Promise<IteratorResult<Buffer>> {
    const frame = this.#frames.shift();
    if (frame !== undefined) {
      this.#onRead(frame);
      return Promise.resolve({ done: false, value: frame });
    }
    if (this.#closing || this.#ended) return Promise.resolve(over);
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#reader !== undefined)
      return Promise.reject(new Error('this connection is being read already: it has one reader at a time'));
    this.#heardMs = this.#clock.nowMs();
    return new Promise((resolve, reject) => (this.#reader = { resolve, reject }));
  }

  #onRead(frame: Buffer): void {
    this.#waitingBytes -= frame.byteLength + waitingFrameBytes;
    if (!this.#socket.isPaused() || this.#waitingBytes > this.#limits.bufferedBytesMax / 2) return;
    this.#heardMs = this.#clock.nowMs();
    if (this.#frameBegunMs !== undefined) this.#frameBegunMs = this.#heardMs;
    this.#socket.resume();
  }

  /** The peer sends no more. It may still read: half of the connection stays open until we close it. */
  #onEnd(): void {
    try {
      if (!this.#closing) this.#decoder.end();
    } catch (error) {
      return this.destroy(error as FramingError);
    }
    this.#ended = true;
    if (this.#closing && this.#socket.writableFinished) this.#socket.destroy();
    this.#requests.fail(new ConnectionClosedError('by the peer'));
    this.#finishReading();
  }

  #finishReading(): void {
    this.#reader?.resolve(over);
    this.#reader = undefined;
  }

  // Sending.

  /** Why a frame cannot be sent now; then nothing of it goes out. */
  #refusal(payloadBytes: number): FramingError | undefined {
    if (payloadBytes > this.#limits.frameBytesMax) return new FrameTooLargeError(payloadBytes, this.#limits.frameBytesMax);
    if (this.#closing) return closedBefore('by us');
    if (!this.#socket.writable) return closedBefore(reasonOf(this.#error), this.#error);
    return undefined;
  }

  /** Says whether there is room for more; if not, a `drain` event will come. */
  #write(parts: readonly Uint8Array[], payloadBytes: number, after?: (part: Uint8Array) => void): boolean {
    this.#cork();
    const copied = payloadBytes <= copiedBytesMax;
    const bytes = copied ? headerBytes + payloadBytes : headerBytes;
    if (this.#batch.length - this.#batchTo < bytes) this.#renewBatch();
    this.#batchTo = writeFrame(this.#batch, this.#batchTo, payloadBytes, copied ? parts : []);
    if (!copied) {
      this.#writeBatch();
      for (const part of parts) if (part.byteLength > 0) this.#socket.write(part, (error) => error ?? after?.(part));
    }
    return !this.#socket.writableNeedDrain || this.#socket.writableLength <= this.#limits.bufferedBytesMax;
  }

  #renewBatch(): void {
    this.#writeBatch();
    this.#batch = Buffer.allocUnsafeSlow(batchBytes);
    this.#batchFrom = 0;
    this.#batchTo = 0;
  }

  #writeBatch(): void {
    if (this.#batchFrom === this.#batchTo) return;
    this.#socket.write(this.#batch.subarray(this.#batchFrom, this.#batchTo));
    this.#batchFrom = this.#batchTo;
  }

  /** Holds back writes until the end of this turn, so that small frames travel together. */
  #cork(): void {
    if (this.#corked) return;
    this.#corked = true;
    this.#turnMs = this.#clock.nowMs();
    this.#socket.cork();
    process.nextTick(this.#uncork);
  }

  readonly #uncork = (): void => {
    if (!this.#corked) return;
    this.#corked = false;
    this.#writeBatch();
    this.#socket.uncork();
  };

  #drained(): Promise<void> {
    if (this.#drain === undefined) {
      this.#drain = Promise.withResolvers<void>();
      this.#drain.promise.catch(() => {});
      this.#tookMs = this.#clock.nowMs();
      this.#unsentBytes = unsentBytes(this.#socket);
    }
    return this.#drain.promise;
  }

  #onDrain(): void {
    this.#drain?.resolve();
    this.#drain = undefined;
  }

  // The end, and its reasons.

  /** Somebody waits for the peer to send. */
  get #awaited(): boolean {
    return this.#reader !== undefined || this.#requests.waiting;
  }

  #check(): void {
    const nowMs = this.#clock.nowMs();
    const { idleTimeoutMs, frameTimeoutMs, sendTimeoutMs } = this.#limits;
    if (!this.#awaited) this.#heardMs = nowMs;
    if (nowMs - this.#heardMs > idleTimeoutMs) return this.destroy(new IdleTimeoutError(idleTimeoutMs));
    if (this.#socket.isPaused() && this.#frameBegunMs !== undefined) this.#frameBegunMs = nowMs;
    if (nowMs - (this.#frameBegunMs ?? nowMs) > frameTimeoutMs) return this.destroy(new FrameTimeoutError(frameTimeoutMs));
    if (this.#drain === undefined) return;
    const unsent = unsentBytes(this.#socket);
    if (unsent < this.#unsentBytes) this.#tookMs = nowMs;
    this.#unsentBytes = unsent;
    if (nowMs - this.#tookMs > sendTimeoutMs)
      this.destroy(new SendTimeoutError(sendTimeoutMs, this.#socket.writableLength, 'sendTimeoutMs'));
  }

  /** A peer that has all our bytes and only fails to close its side has cost us nothing but the wait. */
  #lateToClose(): Error {
    if (this.#socket.writableFinished) return new ConnectionClosedError('by us');
    return new SendTimeoutError(this.#limits.closeTimeoutMs, this.#socket.writableLength, 'closeTimeoutMs');
  }

  #onClose(): void {
    this.#stopChecks();
    this.#cancelStop();
    this.#error ??= new ConnectionClosedError(this.#closing ? 'by us' : 'by the peer');
    this.#settle(this.#error);
  }

  #settle(error: Error): void {
    this.#drain?.reject(error);
    this.#drain = undefined;
    this.#requests.fail(error);
    this.#reader?.reject(error);
    this.#reader = undefined;
  }
}

const reasonOf = (error?: Error): string =>
  error instanceof ConnectionClosedError ? error.reason : (error?.message ?? 'by the peer');

const closedBefore = (why: string, cause?: Error): ConnectionClosedError =>
  new ConnectionClosedError(why, { definite: true, cause });

/**
 * Bytes that the kernel has not taken. `writableLength` counts a write until all of it has gone, so that a large frame to a slow peer would look like
 * no progress; the handle below a socket knows better. It is not part of Node's documented interface, though Node's own socket timeout looks at it: where
 * it is missing (a duplex of another kind), progress is seen write by write.
 */
export function unsentBytes(socket: Duplex & { _handle?: { writeQueueSize?: number } | null }): number {
  return socket._handle?.writeQueueSize || socket.writableLength;
}
