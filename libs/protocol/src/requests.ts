import { Fifo } from '@lab/process/fifo';
import type { Clock } from '@lab/process/time';
import { RequestTimeoutError } from './errors.ts';

interface Pending {
  resolve(reply: Buffer): void;
  reject(error: unknown): void;
  deadlineMs: number;
  timeoutMs: number;
}

/** Requests in flight, oldest first. One timer serves them all: it looks at the earliest deadline, and most requests never see it. */
export class Requests {
  readonly #clock: Clock;
  readonly #onTimeout: (error: RequestTimeoutError) => void;
  readonly #pending = new Fifo<Pending>();
  #cancelTimer = (): void => {};
  #timerDueMs = Infinity;

  constructor(clock: Clock, onTimeout: (error: RequestTimeoutError) => void) {
    this.#clock = clock;
    this.#onTimeout = onTimeout;
  }

  get waiting(): boolean {
    return this.#pending.length > 0;
  }

  add(timeoutMs: number, nowMs: number): Promise<Buffer> {
    const deadlineMs = nowMs + timeoutMs;
    if (deadlineMs < this.#timerDueMs) this.#arm(deadlineMs);
    return new Promise((resolve, reject) => this.#pending.push({ resolve, reject, deadlineMs, timeoutMs }));
  }

  /** Gives the frame to the oldest request; false when there is none. */
  answer(frame: Buffer): boolean {
    const oldest = this.#pending.shift();
    oldest?.resolve(frame);
    return oldest !== undefined;
  }

  /** Rejects all of them; for when no reply can come any more. */
  fail(error: unknown): void {
    this.#cancelTimer();
    this.#timerDueMs = Infinity;
    for (const pending of this.#pending.drain()) pending.reject(error);
  }

  #arm(dueMs: number): void {
    this.#cancelTimer();
    this.#timerDueMs = dueMs;
    // Requests count from the start of their turn: by now a short time may be over.
    this.#cancelTimer = this.#clock.after(Math.max(0, dueMs - this.#clock.nowMs()), () => this.#expire());
  }

  #expire(): void {
    this.#timerDueMs = Infinity;
    let earliest: Pending | undefined;
    for (const pending of this.#pending) if (pending.deadlineMs < (earliest?.deadlineMs ?? Infinity)) earliest = pending;
    if (earliest === undefined) return;
    if (earliest.deadlineMs <= this.#clock.nowMs()) this.#onTimeout(new RequestTimeoutError(earliest.timeoutMs));
    else this.#arm(earliest.deadlineMs);
  }
}
