import { RequestTimeoutError } from './errors.ts';
import { Fifo } from './fifo.ts';

interface Pending {
  resolve(reply: Buffer): void;
  reject(error: unknown): void;
  deadlineMs: number;
  timeoutMs: number;
}

/** Requests under way, oldest first. One timer serves them all: it looks at the earliest deadline, and most requests never see it. */
export class Requests {
  readonly #onTimeout: (error: RequestTimeoutError) => void;
  readonly #pending = new Fifo<Pending>();
  #timer: NodeJS.Timeout | undefined;
  #timerDueMs = Infinity;

  constructor(onTimeout: (error: RequestTimeoutError) => void) {
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
    clearTimeout(this.#timer);
    this.#timerDueMs = Infinity;
    const failed = [...this.#pending];
    this.#pending.clear();
    for (const pending of failed) pending.reject(error);
  }

  #arm(dueMs: number): void {
    clearTimeout(this.#timer);
    this.#timerDueMs = dueMs;
    this.#timer = setTimeout(() => this.#expire(), dueMs - performance.now()).unref();
  }

  #expire(): void {
    this.#timerDueMs = Infinity;
    let earliest: Pending | undefined;
    for (const pending of this.#pending) if (pending.deadlineMs < (earliest?.deadlineMs ?? Infinity)) earliest = pending;
    if (earliest === undefined) return;
    if (earliest.deadlineMs <= performance.now()) this.#onTimeout(new RequestTimeoutError(earliest.timeoutMs));
    else this.#arm(earliest.deadlineMs);
  }
}
