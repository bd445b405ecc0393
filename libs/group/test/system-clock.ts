/** The host's time, as `systemClock` of `@lab/process`, which this package does not need. */
export const systemClock = {
  nowMs: (): number => performance.now(),
  after(delayMs: number, run: () => void): () => void {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
  every(intervalMs: number, run: () => void): () => void {
    const timer = setInterval(run, intervalMs);
    timer.unref();
    return () => clearInterval(timer);
  },
};

/** For `newToken`. */
export const randomToken = (): string => crypto.randomUUID().slice(0, 8);
