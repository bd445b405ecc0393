/**
 * The port to a registry of the living: who is there, where, and who leads.
 *
 * Whoever is connected holds a session. It ends when it is closed, or when the registry has heard nothing for the session's timeout, whether the
 * process is dead, hangs, or only its network is cut; with it goes all that it announced. A session that was lost is followed by a new one by
 * itself, in which all is announced again, under new ids.
 */

import { exitCodes } from '@lab/process/exit-codes';

/** Where an instance is found, and what else others must know of it. At most 64 KiB as JSON. It does not change while it is announced. */
export type Endpoint = Readonly<Record<string, string | number | boolean>>;

/** One that is announced, and was alive when the registry was asked. */
export interface Instance {
  /**
   * Its place in the service's order of arrival, 0, 1, 2 ...: greater than that of all that came before, alive or not. Never used twice, as long as the
   * registry keeps its data.
   */
  readonly sequence: number;
  readonly endpoint: Endpoint;
}

export interface Announcement {
  /** The sequence in the present session. */
  readonly sequence: number;
  /** Resolves when no one can find it anymore, or after the session's timeout at the latest. */
  withdraw(): Promise<void>;
}

export interface AnnounceOptions {
  /** Called when a lost session was followed by a new one: the instance has left, and this is a new one. */
  onRenewed?: (sequence: number) => void;
}

export interface Leadership {
  /** A fencing token: greater than that of every leadership of this role before. Whatever a leader changes must refuse lower ones. */
  readonly epoch: number;
  /**
   * Resolves when the leadership has ended, or may have: without contact to the registry it resolves by this process's own clock before another can be elected.
   * A process that hangs learns it only when it goes on; therefore the epoch.
   */
  readonly lost: Promise<void>;
  /** Resolves when another may be elected. */
  resign(): Promise<void>;
}

/** A small piece of shared text that changes by compare-and-set only. */
export interface SharedRecord {
  /** At least as new as what this process has seen, by any means; `undefined` before the first write. */
  read(): Promise<RecordState | undefined>;
  /**
   * Writes if the record is still at `version` (`undefined`: if there is none), and resolves with the new version, or with `undefined` if it was changed by another.
   * After an `UnavailableError` it may or may not have been written: read it.
   */
  write(text: string, version: number | undefined): Promise<number | undefined>;
  /** The present state and each later one; states that follow each other quickly may be left out, the last one never. Without contact nothing comes. */
  watch(): AsyncIterableIterator<RecordState>;
}

export interface RecordState {
  /** At most 64 KiB as UTF-8. */
  readonly text: string;
  /** Grows with each write. */
  readonly version: number;
}

/** Names of services, roles and records: 1 to 200 characters of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit. */
export interface Discovery {
  /** Resolves when all that ask now find it. */
  announce(service: string, endpoint: Endpoint, options?: AnnounceOptions): Promise<Announcement>;
  /** The living now, oldest first. */
  list(service: string): Promise<readonly Instance[]>;
  /**
   * The present set, read after this call, and each later one, oldest first; sets that follow each other quickly may be left out, the last one never. Never older than what `list` has
   * given or `watch` has shown. Without contact nothing comes: the last set may be out of date then.
   */
  watch(service: string): AsyncIterableIterator<readonly Instance[]>;
  /**
   * Waits to lead. At most one candidate of a role leads, the one that has waited longest; `name` tells people who it is. The epoch is raised BEFORE it resolves, by a
   * step that fails when the candidacy is gone. Rejects with the signal's reason when it is aborted, and is no candidate then.
   */
  elect(role: string, name: string, options?: { signal?: AbortSignal }): Promise<Leadership>;
  record(name: string): SharedRecord;
  /** Ends the session at once: what was announced is gone, leaderships are free, iterators end. */
  close(): Promise<void>;
}

/** The registry did not answer within its deadline. Whatever was asked may have happened. */
export class UnavailableError extends Error {
  readonly exitCode = exitCodes.unavailable;
  constructor(what: string, options?: { cause?: unknown }) {
    super(what, options);
    this.name = new.target.name;
  }
}
