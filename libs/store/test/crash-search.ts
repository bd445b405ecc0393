/** Shows that a store keeps its promise wherever in its work the power goes: for the tests of whoever works on a `FakeDisk`. */
import { seededRandom } from '@lab/testing';
import { FakeDisk, type FakeDiskOptions } from './fake-disk.ts';

/** Work on a disk. It says what is promised from now on, as often as that changes. */
export type Work<P> = (disk: FakeDisk, promise: (now: P) => void) => Promise<void>;

export interface CrashSearchOptions extends FakeDiskOptions {
  /** Of the states that a power cut may leave after one call, so many are tried at most, by `FakeDisk.crashStates`. */
  statesMax: number;
}

/**
 * After every call of the work, and whenever something is promised: each state that a power cut may leave then, and the one that the death
 * of the process leaves, are given to `check`, those that are the same once. Rejects with what it rejects with first, and the last calls before.
 * Tells how many states were tried.
 */
export async function searchCrashes<P>(
  work: Work<P>,
  check: (left: FakeDisk, promise: P) => Promise<void>,
  { statesMax, ...options }: CrashSearchOptions,
): Promise<number> {
  const states = new Map<string, { left: FakeDisk; promise: P; when: string }>();
  const disk = new FakeDisk(options);
  const calls: string[] = [];
  let promise: P | undefined;
  const crash = (): void => {
    if (promise === undefined) return;
    const said = JSON.stringify(promise);
    const when = `after call ${calls.length}: ${calls.slice(-5).join(', ')}`;
    const add = (kind: string, left: FakeDisk): void => {
      const key = `${kind} ${left.fingerprint()} ${said}`;
      if (!states.has(key)) states.set(key, { left, promise: promise!, when: `${kind} ${when}` });
    };
    const cuts = [...disk.crashStates(statesMax, seededRandom(calls.length))];
    for (const left of cuts) add('power cut', left);
    // Where all is synced they leave the same.
    if (cuts.length > 1) add('killed', disk.copy());
  };
  disk.onCall = ({ operation, path }, effect) => {
    const result = effect();
    calls.push(`${operation} ${path}`);
    crash();
    return result;
  };
  await work(disk, (now) => {
    promise = now;
    crash();
  });
  for (const { left, promise, when } of states.values()) {
    await check(left, promise).catch((cause: unknown) => {
      throw new Error(`${cause instanceof Error ? cause.message : String(cause)}\n${when}`, { cause });
    });
  }
  return states.size;
}
