/**
 * A lock between processes that a dead one cannot keep and a hanging one does not lose: the kernel's lock on a file. Node cannot ask for one itself,
 * but SQLite, which Node carries, locks its files so (fcntl on Unix). The database stays empty; all that counts is its lock. Unlike a lease it needs no clock:
 * whoever is stopped in the middle of a change still holds it when it goes on.
 */
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';

/** SQLITE_BUSY and SQLITE_LOCKED: somebody has it. */
const busyCodes = [5, 6];
/** SQLITE_CANTOPEN: the file, or its folder, is gone. */
const goneCode = 14;
const retryMs = 10;
/** What is done under the lock takes milliseconds, the end of a large repacking seconds. Beyond this somebody hangs. */
const patienceMs = 60_000;

export interface HeldLock {
  /** Gives it back, as the end of the process does. */
  release(): void;
}

/** Takes the lock if it is free. The file is made when it is missing, unless `existing`: then it is as good as taken. */
export function tryLock(path: string, { existing = false } = {}): HeldLock | undefined {
  let database: DatabaseSync | undefined;
  try {
    const file = pathToFileURL(path);
    file.search = existing ? 'mode=rw' : 'mode=rwc';
    database = new DatabaseSync(file);
    // Nothing is ever written; a journal on disk would keep everybody from the lock when that is full.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    const held = database;
    return { release: () => held.close() };
  } catch (error) {
    database?.close();
    const { errcode = 0 } = error as { errcode?: number };
    if (busyCodes.includes(errcode) || (existing && errcode === goneCode)) return undefined;
    throw error;
  }
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

  async #acquire(): Promise<HeldLock> {
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
