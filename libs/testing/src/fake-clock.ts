interface Timer {
  dueMs: number;
  /** Undefined when it runs once. */
  intervalMs: number | undefined;
  run: () => void;
}

/**
 * A clock that starts at 0 and stands still until a test moves it. It has the shape of `Clock` in `@lab/process`, which is not imported: that package
 * is tested with this one.
 */
export class FakeClock {
  #nowMs = 0;
  /** In the order in which they were set, which decides between timers that are due at one time. */
  readonly #timers = new Set<Timer>();

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, run: () => void): () => void {
    return this.#set({ dueMs: this.#nowMs + checkedMs(delayMs, 0), intervalMs: undefined, run });
  }

  every(intervalMs: number, run: () => void): () => void {
    return this.#set({ dueMs: this.#nowMs + checkedMs(intervalMs, Number.MIN_VALUE), intervalMs, run });
  }

  /** When the next timer is due; `undefined` where there is none. */
  nextMs(): number | undefined {
    return this.#next()?.dueMs;
  }

  /**
   * Moves time on and runs what falls due on the way, each at its own time and in that order; what is due at one time runs in the order in which
   * it was set. Timers that those set run too, if they fall due. Returns without a turn of the event loop.
   */
  advance(ms: number): void {
    const endMs = this.#nowMs + checkedMs(ms, 0);
    while (this.#runNext(endMs));
    this.#nowMs = endMs;
  }

  /** As `advance`, but gives the event loop a turn before each timer and after the last: what waits for a timer sees the time at which it ran. */
  async advanceAsync(ms: number): Promise<void> {
    const endMs = this.#nowMs + checkedMs(ms, 0);
    do await turn();
    while (this.#runNext(endMs));
    this.#nowMs = endMs;
  }

  #set(timer: Timer): () => void {
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  #next(): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) if (timer.dueMs < (next?.dueMs ?? Infinity)) next = timer;
    return next;
  }

  /** Runs the one timer that is due first, if that is not after `endMs`. */
  #runNext(endMs: number): boolean {
    const next = this.#next();
    if (next === undefined || next.dueMs > endMs) return false;
    this.#nowMs = next.dueMs;
    this.#timers.delete(next);
    if (next.intervalMs !== undefined) {
      next.dueMs += next.intervalMs;
      this.#timers.add(next);
    }
    next.run();
    return true;
  }
}

/** A time that is no number would stand still for ever, and an interval of 0 would never let time go on. */
function checkedMs(ms: number, min: number): number {
  if (!(ms >= min)) throw new RangeError(`a time of ${ms} ms is not ${min === 0 ? 'zero or more' : 'more than zero'}`);
  return ms;
}

/** All promises that can settle have done so after it. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
