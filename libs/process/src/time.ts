/** Time as an argument, so that a test can own it. */
export interface Clock {
  /** Milliseconds on a clock that never goes back; its zero means nothing. */
  nowMs(): number;
  /** Calls `run` once after `delayMs`, which is 0 or more; the returned function cancels it. */
  after(delayMs: number, run: () => void): () => void;
  /** Calls `run` every `intervalMs`, the first time after one interval; the returned function stops it. It does not keep the process alive. */
  every(intervalMs: number, run: () => void): () => void;
  /** For the jitter of pauses: a number in 0..1, below 1. Without it `Math.random` is used. */
  random?(): number;
}

/** The host's monotonic clock. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
  every(intervalMs, run) {
    const timer = setInterval(run, intervalMs);
    timer.unref();
    return () => clearInterval(timer);
  },
};

/** Resolves after `delayMs` on that clock. */
export const sleep = (clock: Pick<Clock, 'after'>, delayMs: number): Promise<void> =>
  new Promise((resolve) => void clock.after(delayMs, resolve));

/** Settles as the work does, or rejects with the error of `late` when that takes longer. The work itself goes on: who calls ends it, if it must end. */
export async function inTime<T>(clock: Pick<Clock, 'after'>, withinMs: number, work: Promise<T>, late: () => Error): Promise<T> {
  const deadline = Promise.withResolvers<never>();
  const cancel = clock.after(withinMs, () => deadline.reject(late()));
  try {
    return await Promise.race([work, deadline.promise]);
  } finally {
    cancel();
  }
}

export interface BackOffOptions {
  /**
   * A number is the longest of equal pauses; otherwise they double, from the longest first pause to the longest of all. Default 100, less than a restart
   * takes, to 5,000, what a client may lag behind a server that is back.
   */
  pauseMs?: number | { first: number; most: number };
  /** For the jitter: a number in 0..1, below 1. Default `Math.random`, or that of the clock where there is one. */
  random?: () => number;
}

/** Pauses with jitter: clients that lost one server together do not come back together. */
export class BackOff {
  readonly #pauses: { first: number; most: number };
  readonly #random: () => number;
  #attempt = 0;

  constructor({ pauseMs = { first: 100, most: 5_000 }, random = Math.random }: BackOffOptions = {}) {
    this.#pauses = typeof pauseMs === 'number' ? { first: pauseMs, most: pauseMs } : pauseMs;
    this.#random = random;
  }

  /** The next pause: between half of what has been reached and all of it. */
  nextMs(): number {
    const { first, most } = this.#pauses;
    return Math.min(most, first * 2 ** this.#attempt++) * (0.5 + this.#random() / 2);
  }

  /** It works again: the next pause is a first one. */
  reset(): void {
    this.#attempt = 0;
  }
}

export interface RetryOptions extends BackOffOptions {
  clock: Clock;
  /** No try begins later than this after the first. `Infinity` is for what nothing can replace; say there why. */
  withinMs: number;
  /** Whether another try may help. Default: always. */
  worthwhile?: (error: unknown) => boolean;
  /** Called before each pause: for a log. */
  onRetry?: (error: unknown, pauseMs: number) => void;
  /** Ends the trying: rejects with its reason, at once during a pause. */
  signal?: AbortSignal;
}

/** Tries until it works. Rejects with the last error when it is not worthwhile to go on, or when the next try would come too late. */
export async function retry<T>(attempt: () => T | Promise<T>, options: RetryOptions): Promise<T> {
  const { clock, withinMs, worthwhile = () => true, onRetry, signal } = options;
  const backOff = new BackOff({ ...(clock.random && { random: () => clock.random!() }), ...options });
  const startMs = clock.nowMs();
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      const pauseMs = backOff.nextMs();
      if (!worthwhile(error) || clock.nowMs() - startMs + pauseMs > withinMs) throw error;
      onRetry?.(error, pauseMs);
      await pause(clock, pauseMs, signal);
    }
  }
}

async function pause(clock: Clock, pauseMs: number, signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const wake = (): void => resolve();
  const cancel = clock.after(pauseMs, wake);
  signal?.addEventListener('abort', wake, { once: true });
  if (signal?.aborted) wake();
  await promise;
  cancel();
  signal?.removeEventListener('abort', wake);
}
