/** A record of the user's own beside the versions: sealed, checked by every scrub, and of one process at a time. */
import { join } from 'node:path';
import { hasCode, readThrough, replaceRecord, unseal } from './durable.ts';
import { acquireLock, type HeldLock } from './lock.ts';
import { isRecordName, type Store, type Version } from './store.ts';

/** A predecessor that was asked to stop takes a few seconds. */
const patienceMs = 10_000;

export interface OwnRecord<T> {
  /**
   * Takes the record's lock, which is ours until `close`, or the end of the process; `undefined` where there is none. May be
   * called again.
   * Rejects when another process keeps the lock for 10 s, and when both copies are damaged. Where nothing can be locked, on a
   * disk that is read only or full, the lock is taken with the first `save`.
   */
  load(): Promise<T | undefined>;
  /** Resolves when it is durable. Only between `load` and `close`. */
  save(value: T): Promise<void>;
  close(): void;
}

/** The record of this name: one word of small letters, none of the store's own. `T` is plain JSON. */
export function ownRecord<T>(store: Store<Version>, name: string): OwnRecord<T> {
  if (!isRecordName(name) || name === 'format' || name === 'swept') throw new RangeError(`"${name}" is no name for a record`);
  const path = join(store.directory, name);
  let lock: HeldLock | undefined;
  const message = `another process has the ${name} of the store ${store.directory}: stop it, or use a store of your own`;
  const take = (): Promise<HeldLock> =>
    acquireLock(store.disk, `${path}.lock`, { clock: store.clock, withinMs: patienceMs, message });
  return {
    async load() {
      lock ??= await take().catch((error: unknown) => {
        if (!hasCode(error, 'EROFS', 'ENOSPC', 'EDQUOT')) throw error;
        return undefined;
      });
      const bytes = await readThrough(path, store.disk);
      if (bytes === undefined) return undefined;
      const record = unseal(bytes);
      if (record === undefined)
        throw new Error(`both copies in ${path} are damaged: move it away and begin anew; the versions are not touched`);
      return record.value as T;
    },
    async save(value) {
      lock ??= await take();
      await store.mutex.run(() => replaceRecord(path, value, store.disk));
    },
    close() {
      lock?.release();
      lock = undefined;
    },
  };
}
