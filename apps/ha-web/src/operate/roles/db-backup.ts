/** The backup machine: a dump each night, and the changes as they are made, from whichever database is the primary. */
import type { Clock, Logger, Role } from '@lab/process';

export interface BackupParts {
  /** Makes a dump and removes what is too old; rejects where that cannot be done now. */
  readonly dump: () => Promise<void>;
  /** Whether there is a dump that the changes continue. */
  readonly hasDump: () => Promise<boolean>;
  /**
   * Follows the primary's changes; resolves or rejects when the connection has ended, rejects when there is none. `stop` ends it. Calls `missed` where changes are
   * not to be had anymore, so that only a new dump is continued by what comes.
   */
  readonly follow: (missed: () => void) => { readonly ended: Promise<void>; readonly stop: () => void };
  /** Calls at the configured time of each day; the returned function ends that. */
  readonly daily: (run: () => void) => () => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Whoever loses the primary looks for the next one: changes are to be seconds old at the most. */
const againMs = 1_000;
/** A dump that failed is tried again: the databases may just change places. */
const dumpAgainMs = 60_000;

export class DatabaseBackup implements Role {
  readonly #parts: BackupParts;
  #stopped = false;
  #stopFollowing: () => void = () => undefined;
  #stopDaily: () => void = () => undefined;
  #cancelDump: () => void = () => undefined;
  #dumping: Promise<void> | undefined;

  constructor(parts: BackupParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    this.#stopDaily = this.#parts.daily(() => this.#dump());
    if (!(await this.#parts.hasDump())) this.#dump();
    this.#follow();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stopDaily();
    this.#cancelDump();
    this.#stopFollowing();
  }

  #follow(): void {
    if (this.#stopped) return;
    const { ended, stop } = this.#parts.follow(() => this.#dump());
    this.#stopFollowing = stop;
    ended
      .catch((error: unknown) => {
        if (!this.#stopped) this.#parts.log.warn({ err: error }, 'does not receive changes');
      })
      .finally(() => this.#parts.clock.after(againMs, () => this.#follow()));
  }

  #dump(): void {
    this.#dumping ??= this.#parts
      .dump()
      .catch((error: unknown) => {
        this.#parts.log.error({ err: error }, 'no dump');
        if (!this.#stopped) this.#cancelDump = this.#parts.clock.after(dumpAgainMs, () => this.#dump());
      })
      .finally(() => (this.#dumping = undefined));
  }
}
