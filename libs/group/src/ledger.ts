/**
 * What counts in a group's log, decided by every reader for itself, and by all alike: nothing here knows who reads, or when.
 *
 * Invariant: whoever reads the same log accepts the same sequence of views and messages. Anything may stand in a log twice, too late, or by a writer that was deposed
 * long ago; the rules below are all that keeps it out.
 */
import { nameOf, sequenceOf, type Entry, type HeadEntry, type MessageEntry, type Stamp, type ViewEntry } from './entries.ts';
import type { Cause, Member } from './port.ts';

/** What an entry changed. */
export type Accepted =
  | { readonly type: 'head'; readonly head: HeadEntry }
  | { readonly type: 'view'; readonly previous: readonly string[] }
  | { readonly type: 'message'; readonly entry: MessageEntry }
  | { readonly type: 'closed' }
  | undefined;

export class Ledger {
  /** The log's name. */
  readonly log: string;
  #stamp: Stamp = { epoch: 0, number: 0 };
  #begun = false;
  #closed = false;
  #viewId: string | undefined;
  #cause: Cause = 'join';
  #members: readonly string[] = [];
  #accepted = new Map<string, number>();
  #sequenceMax = -1;
  #leaving = new Set<string>();
  #bytes = 0;
  #stateBytes = 0;

  constructor(log: string) {
    this.log = log;
  }

  /** The head has been read. */
  get begun(): boolean {
    return this.#begun;
  }
  /** Nothing that follows counts. */
  get closed(): boolean {
    return this.#closed;
  }
  get members(): readonly string[] {
    return this.#members;
  }
  get viewId(): string | undefined {
    return this.#viewId;
  }
  get cause(): Cause {
    return this.#cause;
  }
  get epoch(): number {
    return this.#stamp.epoch;
  }
  /** Of the newest member that there ever was. */
  get sequenceMax(): number {
    return this.#sequenceMax;
  }
  /** Read since the head, all kinds. */
  get bytes(): number {
    return this.#bytes;
  }
  /** Of the state in the head. */
  get stateBytes(): number {
    return this.#stateBytes;
  }
  /** The number of a member's last message in the order. */
  lastOf(id: string): number {
    return this.#accepted.get(id) ?? 0;
  }
  /** What the next view or close of a writer must carry. */
  nextStamp(epoch: number): Stamp {
    return epoch > this.#stamp.epoch ? { epoch, number: 1 } : { epoch, number: this.#stamp.number + 1 };
  }

  accept(entry: Entry, bytes: number): Accepted {
    if (!this.#begun) return entry.kind === 'head' ? this.#begin(entry) : undefined;
    this.#bytes += bytes;
    if (this.#closed) return undefined;
    switch (entry.kind) {
      case 'view':
        return this.#isNext(entry) ? this.#acceptView(entry) : undefined;
      case 'close':
        if (!this.#isNext(entry)) return undefined;
        this.#stamp = { epoch: entry.epoch, number: entry.number };
        this.#closed = true;
        return { type: 'closed' };
      case 'message':
        // The number after the last one, or nothing: to take the highest would lose for ever what a retry brings late.
        if (!this.#members.includes(entry.sender) || entry.number !== this.lastOf(entry.sender) + 1) return undefined;
        this.#accepted.set(entry.sender, entry.number);
        return { type: 'message', entry };
      case 'leave':
        if (this.#members.includes(entry.sender)) this.#leaving.add(entry.sender);
        return undefined;
      case 'head': // of a second writer that wanted to begin this log
      case 'probe':
        return undefined;
    }
  }

  /** A writer of a higher epoch, or the next word of the present one: the second copy of a view must not undo the one after it. */
  #isNext({ epoch, number }: Stamp): boolean {
    return epoch > this.#stamp.epoch || (epoch === this.#stamp.epoch && number === this.#stamp.number + 1);
  }

  #begin(head: HeadEntry): Accepted {
    this.#begun = true;
    this.#stamp = { epoch: head.epoch, number: head.number };
    this.#viewId = head.viewId;
    this.#cause = head.cause;
    this.#members = head.members;
    this.#accepted = new Map(Object.entries(head.accepted));
    this.#sequenceMax = head.sequenceMax;
    this.#leaving = new Set(head.leaving);
    this.#stateBytes = head.state.length;
    return { type: 'head', head };
  }

  #acceptView({ epoch, number, cause, members }: ViewEntry): Accepted {
    const previous = this.#members;
    this.#stamp = { epoch, number };
    // Who is out stays out: a repeated message of its former life would count again.
    this.#members = members.filter((id) => previous.includes(id) || sequenceOf(id) > this.#sequenceMax);
    this.#sequenceMax = Math.max(this.#sequenceMax, ...members.map(sequenceOf));
    this.#viewId = `${epoch}.${number}`;
    // The writer may not have read the goodbye yet; every reader has, by now.
    const gone = previous.filter((id) => !this.#members.includes(id));
    this.#cause = gone.length > 0 && gone.every((id) => this.#leaving.has(id)) ? 'leave' : cause;
    for (const id of gone) {
      this.#accepted.delete(id);
      this.#leaving.delete(id);
    }
    return { type: 'view', previous };
  }

  /** The head of the log that follows this one, once it is closed. */
  successor(state: Buffer): HeadEntry {
    return {
      kind: 'head',
      ...this.#stamp,
      previous: this.log,
      viewId: this.#viewId,
      cause: this.#cause,
      members: this.#members,
      accepted: Object.fromEntries(this.#accepted),
      sequenceMax: this.#sequenceMax,
      leaving: [...this.#leaving],
      state,
    };
  }
}

/** The head of a group's first log. */
export const firstHead: HeadEntry = {
  ...{ kind: 'head', epoch: 0, number: 0, previous: undefined, viewId: undefined, cause: 'join', members: [], accepted: {} },
  ...{ sequenceMax: -1, leaving: [], state: Buffer.alloc(0) },
};

export const memberOf = (id: string): Member => ({ id, name: nameOf(id) });
