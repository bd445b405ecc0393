/**
 * A lock between processes that a dead one cannot keep and a hanging one does not lose: the kernel's lock on a file. Node cannot ask for one itself,
 * but SQLite, which Node carries, locks its files so (fcntl on Unix). The database stays empty; all that counts is its lock. Unlike a lease it needs no clock:
 * whoever is stopped in the middle of a change still holds it when it goes on.
 */
import { DatabaseSync } from 'node:sqlite';

/** SQLITE_BUSY, and SQLITE_LOCKED. */
const busyCodes = new Set([5, 6]);
const retryMs = 10;
/** What is done under the lock takes milliseconds, the end of a large repacking seconds. Beyond this somebody hangs. */
const patienceMs = 60_000;

/** Takes the lock if it is free; `release` gives it back, and so does the end of the process. */
export function tryLock(path: string): { release(): void } | undefined {
  const database = new DatabaseSync(path);
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (busyCodes.has((error as { errcode?: number }).errcode ?? 0)) return undefined;
    throw error;
  }
  return { release: () => database.close() };
}

/** Runs one piece of work at a time, over all processes that use this path. */
export class Mutex {
  readonly #path: string;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(path: string) {
    this.#path = path;
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(() => this.#runLocked(work));
    this.#tail = result.catch(() => undefined);
    return result;
  }

  async #runLocked<T>(work: () => Promise<T>): Promise<T> {
    const lock = await this.#acquire();
    try {
      return await work();
    } finally {
      lock.release();
    }
  }

  async #acquire(): Promise<{ release(): void }> {
    const deadlineMs = performance.now() + patienceMs;
    for (;;) {
      const lock = tryLock(this.#path);
      if (lock !== undefined) return lock;
      if (performance.now() > deadlineMs)
        throw new Error(
          `the store's lock ${this.#path} was taken for ${patienceMs / 1000} s: a process that uses the store hangs`,
        );
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  }
}
