import { RequestTimeoutError } from './errors.ts';

interface Pending {
  resolve(reply: Buffer): void;
  reject(error: unknown): void;
  deadlineMs: number;
  timeoutMs: number;
}

/** Requests under way, oldest first. One timer serves them all: it looks at the earliest deadline, and most requests never see it. */
export class Requests {
  readonly #onTimeout: (error: RequestTimeoutError) => void;
  #pending: Pending[] = [];
  #next = 0;
  #timer: NodeJS.Timeout | undefined;
  #timerDueMs = Infinity;

  constructor(onTimeout: (error: RequestTimeoutError) => void) {
    this.#onTimeout = onTimeout;
  }

  get waiting(): boolean {
    return this.#next < this.#pending.length;
  }

  add(timeoutMs: number): Promise<Buffer> {
    if (!(timeoutMs > 0)) throw new RangeError(`timeoutMs is ${timeoutMs}; it must be above 0`);
    const deadlineMs = performance.now() + timeoutMs;
    if (deadlineMs < this.#timerDueMs) this.#arm(deadlineMs);
    return new Promise((resolve, reject) => this.#pending.push({ resolve, reject, deadlineMs, timeoutMs }));
  }

  /** Gives the frame to the oldest request; false when there is none. */
  answer(frame: Buffer): boolean {
    const oldest = this.#pending[this.#next];
    if (oldest === undefined) return false;
    this.#next += 1;
    if (this.#next === this.#pending.length) {
      this.#pending = [];
      this.#next = 0;
    }
    oldest.resolve(frame);
    return true;
  }

  fail(error: unknown): void {
    clearTimeout(this.#timer);
    this.#timerDueMs = Infinity;
    const failed = this.#pending.slice(this.#next);
    this.#pending = [];
    this.#next = 0;
    for (const { reject } of failed) reject(error);
  }

  #arm(dueMs: number): void {
    clearTimeout(this.#timer);
    this.#timerDueMs = dueMs;
    this.#timer = setTimeout(() => this.#expire(), dueMs - performance.now()).unref();
  }

  #expire(): void {
    this.#timerDueMs = Infinity;
    let earliest: Pending | undefined;
    for (const pending of this.#pending.slice(this.#next)) {
      if (pending.deadlineMs < (earliest?.deadlineMs ?? Infinity)) earliest = pending;
    }
    if (earliest === undefined) return;
    if (earliest.deadlineMs <= performance.now()) this.#onTimeout(new RequestTimeoutError(earliest.timeoutMs));
    else this.#arm(earliest.deadlineMs);
  }
}
