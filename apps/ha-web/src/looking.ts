/** How programs look at each other: again and again, and with little patience. */
import type { Clock } from '@lab/process';

/** Calls `look` every `intervalMs`, never twice at a time. The returned function ends that; it resolves when no call is under way. */
export function keepLooking(clock: Clock, intervalMs: number, look: () => Promise<void>): () => Promise<void> {
  let looking: Promise<void> | undefined;
  const stop = clock.every(intervalMs, () => {
    looking ??= look().finally(() => (looking = undefined));
  });
  return async () => {
    stop();
    await looking;
  };
}

/** The JSON that is there; undefined where nobody answers in time, or not with a success. */
export async function askJson<T>(url: string, answerMs: number): Promise<T | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(answerMs) });
    return response.ok ? ((await response.json()) as T) : undefined;
  } catch {
    return undefined;
  }
}
