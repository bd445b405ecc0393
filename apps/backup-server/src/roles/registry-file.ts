/** What the nodes manager has on disk, and what to say where that is gone or cannot be read: versions are listed and restored all the same. */
import { isDiskTrouble } from '@lab/store/durable';
import { LockedError, type OwnRecord } from '@lab/store';

export interface Loaded<T> {
  known: T | undefined;
  /** Why nothing is backed up. */
  problem?: string;
  /** Nothing may be written in its place. */
  isUnreadable: boolean;
}

/** Rejects with `LockedError` where another process has it. */
export async function loadRegistry<T>(file: OwnRecord<T>, hasVersions: () => Promise<boolean>): Promise<Loaded<T>> {
  try {
    const known = await file.load();
    if (known !== undefined || !(await hasVersions())) return { known, isUnreadable: false };
    const problem =
      'nothing is backed up, for the store has versions, but no file "registry": put it back, or register the paths again; "list" shows them';
    return { known, problem, isUnreadable: false };
  } catch (error) {
    // What the disk cannot do now it may do for who starts again.
    if (error instanceof LockedError || isDiskTrouble(error)) throw error;
    const problem = `nothing is backed up, for the registry cannot be read: ${(error as Error).message}`;
    return { known: undefined, problem, isUnreadable: true };
  }
}
