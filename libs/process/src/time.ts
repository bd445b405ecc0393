/** Time as an argument, so that a test can own it. */
export interface Clock {
  /** Milliseconds on a clock that never goes back; its zero means nothing. */
  nowMs(): number;
  /** Calls `run` once after `delayMs`, which is 0 or more; the returned function cancels it. */
  after(delayMs: number, run: () => void): () => void;
  /** Calls `run` every `intervalMs`, the first time after one interval; the returned function stops it. It does not keep the process alive. */
  every(intervalMs: number, run: () => void): () => void;
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
  /** The longest first pause. Default 100, less than a restart takes. */
  firstMs?: number;
  /** The longest pause of all: what a client may lag behind a server that is back. Default 5,000. */
  mostMs?: number;
  /** For the jitter: a number in 0..1, below 1. Default `Math.random`. */
  random?: () => number;
}

/** Pauses that double, with jitter: clients that lost one server together do not come back together. */
export class BackOff {
  readonly #options: Required<BackOffOptions>;
  #attempt = 0;

  constructor(options: BackOffOptions = {}) {
    this.#options = { firstMs: 100, mostMs: 5_000, random: Math.random, ...options };
  }

  /** The next pause: between half of what has been reached and all of it. */
  nextMs(): number {
    const { firstMs, mostMs, random } = this.#options;
    return Math.min(mostMs, firstMs * 2 ** this.#attempt++) * (0.5 + random() / 2);
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
  const backOff = new BackOff(options);
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
