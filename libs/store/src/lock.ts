/**
 * A lock between processes that a dead one cannot keep and a hanging one does not lose: the kernel's lock on a file. Node
 * cannot ask for one itself, but SQLite, which Node carries, locks its files so (fcntl on Unix). The database stays empty; all
 * that counts is its lock. Unlike a lease it needs no clock: whoever is stopped in the middle of a change still holds it when
 * it goes on.
 */
import { closeSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { retry, type Clock } from '@lab/process/time';
import type { Disk } from './disk.ts';

/** SQLITE_BUSY and SQLITE_LOCKED: somebody has it. */
const busyCodes = [5, 6];
/** SQLITE_CANTOPEN: the file, or its folder, is gone; SQLITE_READONLY: so is the file system. */
const [goneCode, readOnlyCode] = [14, 8];
const pauseMs = 10;
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
    // SQLite does not say why: a full disk, most likely.
    if (errcode === goneCode) closeSync(openSync(path, 'a'));
    if (errcode === readOnlyCode) throw Object.assign(new Error(`EROFS: ${path} cannot be locked`), { code: 'EROFS', path });
    throw error;
  }
}

/** Somebody else has a lock, and keeps it. */
export class LockedError extends Error {
  override readonly name = 'LockedError';
}

/** Waits for a lock, at most so long on this clock; then it is a `LockedError` with this message. */
export function acquireLock(
  disk: Disk,
  path: string,
  { clock, withinMs, message }: { clock: Clock; withinMs: number; message: string },
): Promise<HeldLock> {
  const attempt = async (): Promise<HeldLock> => {
    const lock = await disk.tryLock(path);
    if (lock === undefined) throw new LockedError(message);
    return lock;
  };
  const worthwhile = (error: unknown): boolean => error instanceof LockedError;
  return retry(attempt, { clock, withinMs, pauseMs, worthwhile });
}

/** Runs one piece of work at a time, over all processes that use this path. */
export class Mutex {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #clock: Clock;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(disk: Disk, path: string, clock: Clock) {
    this.#disk = disk;
    this.#path = path;
    this.#clock = clock;
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(() => this.#runLocked(work));
    this.#tail = result.catch(() => undefined);
    return result;
  }

  async #runLocked<T>(work: () => Promise<T>): Promise<T> {
    const lock = await acquireLock(this.#disk, this.#path, {
      clock: this.#clock,
      withinMs: patienceMs,
      message: `the store's lock ${this.#path} was taken for ${patienceMs / 1000} s: a process that uses the store hangs`,
    });
    try {
      return await work();
    } finally {
      lock.release();
    }
  }
}
