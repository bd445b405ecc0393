/** How long to try, and how often. */
export interface EventuallyOptions {
  /** Default 60 s: far longer than anything here takes on a busy machine, so that only what never happens fails. */
  timeoutMs?: number;
  /** Pause between two tries. Default 50 ms. */
  intervalMs?: number;
}

/**
 * Tries until the probe neither throws nor gives something falsy, and resolves with what it gave. The error at the deadline holds what the last
 * finished try said, and how long it took; a try that hangs is given up then.
 */
export async function eventually<T>(probe: () => T | Promise<T>, options: EventuallyOptions = {}): Promise<T> {
  const { timeoutMs = 60_000, intervalMs = 50 } = options;
  const startMs = performance.now();
  let last: unknown = 'the first try did not end';
  let over = false;
  const tryOn = async (): Promise<T> => {
    while (!over) {
      try {
        const value = await probe();
        if (value) return value;
        last = `it gave ${String(value)}`;
      } catch (error) {
        last = error;
      }
      await new Promise((resolve) => setTimeout(resolve, intervalMs));
    }
    throw last;
  };
  try {
    return await withDeadline(tryOn(), timeoutMs, () => {
      const elapsedMs = Math.round(performance.now() - startMs);
      return new Error(`not within ${elapsedMs} ms: ${last instanceof Error ? last.message : String(last)}`, { cause: last });
    });
  } finally {
    over = true;
  }
}

/** Settles as the work does, or rejects with the error of `late` when it has not settled in time. The work itself goes on. */
export async function withDeadline<T>(work: Promise<T>, timeoutMs: number, late: () => Error): Promise<T> {
  const deadline = Promise.withResolvers<never>();
  const timer = setTimeout(() => deadline.reject(late()), timeoutMs);
  try {
    return await Promise.race([work, deadline.promise]);
  } finally {
    clearTimeout(timer);
  }
}
