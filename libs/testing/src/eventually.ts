/** How long to try, and how often. */
export interface EventuallyOptions {
  /** Default 10 s. */
  timeoutMs?: number;
  /** Pause between two tries. Default 50 ms. */
  intervalMs?: number;
}

/** Tries until the probe neither throws nor gives something falsy, and returns what it gave. What it said last is in the error. */
export async function eventually<T>(probe: () => T | Promise<T>, options: EventuallyOptions = {}): Promise<T> {
  const { timeoutMs = 10_000, intervalMs = 50 } = options;
  const startMs = performance.now();
  for (;;) {
    let last: unknown;
    try {
      const value = await probe();
      if (value) return value;
      last = `it gave ${String(value)}`;
    } catch (error) {
      last = error;
    }
    const elapsedMs = Math.round(performance.now() - startMs);
    if (elapsedMs >= timeoutMs)
      throw new Error(`not within ${elapsedMs} ms: ${last instanceof Error ? last.message : String(last)}`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}
