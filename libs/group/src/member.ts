/**
 * One member's side of the protocol, without any I/O: it is told what happened (an entry read, the registry's news, a tick) and gives back what is to be done.
 *
 * Order comes from one append-only log at a time, liveness from ephemeral places in a registry. The member that the registry has elected writes the views; its epoch
 * fences all who did before. Invariant: any two members accept prefixes of one sequence of messages and views, and a multicast that resolved is in every later state.
 *
 * - **Join.** A member reads the log first, up to a probe of its own, and takes its place in the registry then: it misses nothing after the view that has it.
 * - **Resolve.** A multicast resolves when its sender reads it. What the sender reads out of turn was dropped by all, and it sends it again.
 * - **Put out.** Who lost its place reads on to its own removal: what was not accepted until there never will be, and goes again under the new id. The state is still
 *   good, for it was read from the one order that there is; only who fell behind by two logs begins anew.
 * - **Forgetting.** A log is closed, not trimmed: after its close nothing counts, so the state there is fixed, and stands at the head of the next log. Where that is, a
 *   record in the registry tells, moved by compare-and-set. Whoever writes the views finishes a switch that another began.
 * - **Half dead.** Who reads no probe of its own for `silentMs` cannot write or cannot read. It gives its place up until a probe comes back.
 */
import { encodeEntry, sequenceOf, tokenOf, type Entry, type HeadEntry, type MessageEntry } from './entries.ts';
import { firstHead, Ledger, memberOf } from './ledger.ts';
import type { Cause, Message, Service, View } from './port.ts';

export type Action =
  /** Append to a log. */
  | { readonly type: 'append'; readonly log: string; readonly bytes: Buffer }
  /** Read a log from its first entry, instead of the one read so far; tell `entry`, and `logGone` when it ends. */
  | { readonly type: 'open'; readonly log: string }
  /** Begin a new log with this head, then move the record from `previous` to it, unless it was moved meanwhile. */
  | { readonly type: 'switch'; readonly previous: string | undefined; readonly head: Buffer }
  /** Take a place in the registry, tell `placed`, and stand for the writing of views: `elected`, `deposed`. */
  | { readonly type: 'place' }
  /** Give both up. */
  | { readonly type: 'unplace' }
  /** For the application's stream. */
  | { readonly type: 'base'; readonly state: Buffer }
  | { readonly type: 'deliver'; readonly event: View | Message }
  /** For the application's stream: its answer goes to `saved`. */
  | { readonly type: 'checkpoint'; readonly log: string }
  /** A multicast is done, or nobody will ever know. */
  | { readonly type: 'settle'; readonly ticket: number; readonly indefinite?: string };

export interface MemberOptions {
  /** Of this process, different from that of any other. */
  readonly token: string;
  /** A probe goes out so long after the last one came back. */
  readonly probeMs: number;
  /** Without a probe coming back for so long this member gives its place up. */
  readonly silentMs: number;
  /** A log is closed when more than this was read since its head, or more than the head's own state, whichever is more. */
  readonly closeBytes: number;
}

interface Pending {
  readonly ticket: number;
  readonly body: Uint8Array;
  readonly service: Service;
  /** How it was sent last. */
  sent?: { readonly id: string; readonly number: number; readonly atMs: number };
  /** It is known, or feared, that the copy sent last did not count. */
  again?: boolean;
}

/** Messages sent and not read back; later ones wait. */
const inFlightMax = 1_000;
/** What this member waits for is written again after so long: the copy may have met a dying broker, and a second one does no harm. */
const againMs = 2_000;

export class Member {
  readonly #options: MemberOptions;
  #actions: Action[] = [];
  #nowMs = 0;

  #ledger: Ledger | undefined;
  /** The log that the record names. */
  #current: string | undefined;
  /** The log that was read to its close before this one. */
  #finished: string | undefined;
  /** Since when the log being read is known to have been removed. */
  #goneMs: number | undefined;

  /** Has a place, or is about to; its sequence, once it is known. */
  #place: { sequence?: number } | undefined;
  #probeSentMs: number | undefined;
  #heardMs = -Infinity;
  /** A probe of its own came back, and none stayed out too long since. */
  #alive = false;

  #instances: readonly string[] = [];
  #epoch: number | undefined;
  #written: { readonly epoch: number; readonly number: number; readonly atMs: number } | undefined;
  /** The switch that this member works on. */
  #switching: { readonly log: string; readonly atMs: number; answered: boolean } | undefined;

  #pending: Pending[] = [];
  #tickets = 0;
  #left = false;

  constructor(options: MemberOptions) {
    this.#options = options;
  }

  /** What is to be done, in this order; to be asked for after every call. */
  takeActions(): Action[] {
    const actions = this.#actions;
    this.#actions = [];
    return actions;
  }

  /** The ticket comes back in a `settle`. */
  multicast(body: Uint8Array, service: Service): number {
    const ticket = ++this.#tickets;
    this.#pending.push({ ticket, body, service });
    this.#send();
    return ticket;
  }

  /** Says goodbye; what is pending settles as indefinite. */
  leave(): void {
    this.#left = true;
    const id = this.#id;
    if (id !== undefined) this.#append({ kind: 'leave', sender: id });
    for (const { ticket } of this.#pending.splice(0)) this.#settle(ticket, 'this member has left the group');
    this.#giveUpPlace();
  }

  /** The registry's record names this log; `undefined`: there is no record yet. */
  pointer(log: string | undefined): void {
    this.#current = log;
    if (log === undefined) return this.#switch(undefined, encodeEntry(firstHead));
    const ledger = this.#ledger;
    const done = ledger === undefined || ledger.closed || this.#goneMs !== undefined;
    if (done && ledger?.log !== log) this.#open(log);
  }

  /** A log has ended: it was removed. */
  logGone(log: string): void {
    const ledger = this.#ledger;
    if (ledger?.log !== log || this.#goneMs !== undefined) return;
    this.#goneMs = this.#nowMs;
    if (this.#current !== undefined && this.#current !== log) return this.#open(this.#current);
    // The present log is gone, as when a broker has lost its disk: who has read it carries on from what it knows. Who has not waits for that, see `tick`.
    if (ledger.begun) this.#checkpoint(log);
  }

  entry(log: string, entry: Entry, bytes: number): void {
    const ledger = this.#ledger;
    if (ledger?.log !== log || this.#left) return;
    const accepted = ledger.accept(entry, bytes);
    if (accepted?.type === 'head') this.#begin(accepted.head);
    if (accepted?.type === 'view') this.#deliverView(ledger, accepted.previous);
    if (accepted?.type === 'closed' && this.#current !== undefined && this.#current !== log) this.#open(this.#current);
    if (entry.kind === 'message') this.#readMessage(ledger, entry, accepted !== undefined);
    if (entry.kind === 'probe' && entry.token === this.#options.token) this.#hear();
    this.#advance();
  }

  /** The application's state at the checkpoint. */
  saved(log: string, state: Buffer): void {
    const ledger = this.#ledger;
    if (ledger?.log !== log || this.#switching?.log !== log || this.#switching.answered) return;
    this.#switching.answered = true;
    this.#switch(log, encodeEntry(ledger.successor(state)));
  }

  /** The place in the registry was taken, or another one after a lost session. */
  placed(sequence: number): void {
    if (this.#place !== undefined) this.#place.sequence = sequence;
    this.#advance();
  }

  /** This member writes the views; `ids` are those who have a place, oldest first, read AFTER the epoch was raised. Told again whenever they change. */
  elected(epoch: number, ids: readonly string[]): void {
    this.#epoch = epoch;
    this.#instances = ids;
    this.#advance();
  }

  deposed(): void {
    this.#epoch = undefined;
  }

  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    if (this.#left) return;
    this.#tickProbe();
    this.#tickSwitch();
    const first = this.#pending[0];
    if (first?.sent !== undefined && nowMs - first.sent.atMs > againMs) first.again = true;
    this.#advance();
  }

  #tickProbe(): void {
    const { probeMs, silentMs } = this.#options;
    if (this.#ledger === undefined) return;
    if (this.#probeSentMs === undefined) {
      if (this.#nowMs - this.#heardMs >= probeMs) this.#sendProbe();
    } else if (this.#nowMs - this.#probeSentMs >= silentMs) {
      this.#alive = false;
      this.#giveUpPlace();
      this.#sendProbe();
    }
  }

  #tickSwitch(): void {
    const { silentMs } = this.#options;
    if (this.#isStuck) this.#giveUpPlace();
    if (this.#goneMs === undefined || this.#ledger?.begun === true || this.#nowMs - this.#goneMs < silentMs) return;
    // The present log is gone, and nobody who has read it has carried on.
    this.#goneMs = this.#nowMs;
    if (this.#current !== undefined) this.#switch(this.#current, encodeEntry(firstHead));
  }

  /** The application does not answer a checkpoint: another member's may. */
  get #isStuck(): boolean {
    const switching = this.#switching;
    return switching?.answered === false && this.#nowMs - switching.atMs >= this.#options.silentMs;
  }

  /** The newest of this process in the view. */
  get #id(): string | undefined {
    return this.#ledger?.members.findLast((id) => tokenOf(id) === this.#options.token);
  }

  #advance(): void {
    const ledger = this.#ledger;
    if (this.#left || ledger?.begun !== true) return;
    // The view has passed this member by: whoever wrote it took it for dead.
    const sequence = this.#place?.sequence;
    const putOut =
      sequence !== undefined &&
      sequence <= ledger.sequenceMax &&
      !ledger.members.some((id) => tokenOf(id) === this.#options.token && sequenceOf(id) >= sequence);
    if (putOut) this.#giveUpPlace();
    if (this.#alive && !this.#isStuck && this.#place === undefined) {
      this.#place = {};
      this.#actions.push({ type: 'place' });
    }
    this.#write(ledger);
    this.#send();
  }

  #giveUpPlace(): void {
    if (this.#place === undefined) return;
    this.#place = undefined;
    this.#epoch = undefined;
    this.#actions.push({ type: 'unplace' });
  }

  /** As the writer of views: the next one that is due, or the close. */
  #write(ledger: Ledger): void {
    const epoch = this.#epoch;
    if (epoch === undefined || epoch < ledger.epoch) return;
    if (ledger.closed) return this.#checkpoint(ledger.log);
    const written = this.#written;
    const next = ledger.nextStamp(epoch);
    const waits = written?.epoch === next.epoch && written.number === next.number && this.#nowMs - written.atMs < againMs;
    if (waits) return;
    const change = this.#dueChange(ledger);
    const { closeBytes } = this.#options;
    if (change !== undefined) this.#append({ kind: 'view', ...next, ...change });
    else if (ledger.bytes > Math.max(closeBytes, ledger.stateBytes)) this.#append({ kind: 'close', ...next });
    else return;
    this.#written = { ...next, atMs: this.#nowMs };
  }

  /** One change at a time, departures first, as Spread does it. */
  #dueChange(ledger: Ledger): { cause: Cause; members: string[] } | undefined {
    const { members, sequenceMax } = ledger;
    const gone = members.find((id) => !this.#instances.includes(id));
    if (gone !== undefined) return { cause: 'disconnect', members: members.filter((id) => id !== gone) };
    const come = this.#instances.find((id) => sequenceOf(id) > sequenceMax);
    return come === undefined ? undefined : { cause: 'join', members: [...members, come] };
  }

  #checkpoint(log: string): void {
    if (this.#switching?.log === log) return;
    this.#switching = { log, atMs: this.#nowMs, answered: false };
    this.#actions.push({ type: 'checkpoint', log });
  }

  #switch(previous: string | undefined, head: Buffer): void {
    this.#actions.push({ type: 'switch', previous, head });
  }

  #open(log: string): void {
    const before = this.#ledger;
    this.#finished = before?.closed === true && this.#goneMs === undefined ? before.log : undefined;
    this.#goneMs = undefined;
    this.#switching = undefined;
    this.#written = undefined;
    this.#ledger = new Ledger(log);
    this.#actions.push({ type: 'open', log });
  }

  /** A log begins: as the continuation of the one before, or, where that is not known to its end, with all that its head tells. */
  #begin(head: HeadEntry): void {
    const ledger = this.#ledger!;
    if (head.previous !== undefined && head.previous === this.#finished) {
      // What was written behind the close counted for nobody.
      for (const item of this.#pending) item.again = true;
    } else {
      this.#settleByHead(ledger);
      this.#actions.push({ type: 'base', state: head.state });
      if (ledger.viewId !== undefined) this.#deliverView(ledger, ledger.members);
    }
    this.#sendProbe();
  }

  /** After a place in the order was missed. */
  #settleByHead(ledger: Ledger): void {
    this.#pending = this.#pending.filter((item) => {
      const { sent, ticket } = item;
      if (sent === undefined) return true;
      if (sent.number <= ledger.lastOf(sent.id)) this.#settle(ticket);
      else if (ledger.members.includes(sent.id)) return (item.again = true);
      else this.#settle(ticket, 'the log in which its place was to be found is gone');
      return false;
    });
  }

  #deliverView(ledger: Ledger, previous: readonly string[]): void {
    const self = this.#id;
    const { members, viewId, cause } = ledger;
    if (viewId === undefined) return;
    const came = self === undefined || !previous.includes(self);
    const together = members.filter((id) => (came ? id === self : previous.includes(id)));
    this.#actions.push({
      type: 'deliver',
      event: { type: 'view', id: viewId, cause, members: members.map(memberOf), self, together },
    });
    // Sent by a former self that is out now, and not read before this: it never will be.
    for (const item of this.#pending) if (item.sent !== undefined && !members.includes(item.sent.id)) delete item.sent;
  }

  #readMessage(ledger: Ledger, entry: MessageEntry, accepted: boolean): void {
    const { sender, number, service, body } = entry;
    if (accepted) this.#actions.push({ type: 'deliver', event: { type: 'message', sender: memberOf(sender), service, body } });
    if (tokenOf(sender) !== this.#options.token) return;
    const at = this.#pending.findIndex(({ sent }) => sent?.id === sender && sent.number === number);
    const item = this.#pending[at];
    if (item === undefined) return;
    if (accepted) {
      this.#pending.splice(at, 1);
      this.#settle(item.ticket);
    } else if (number > ledger.lastOf(sender)) {
      item.again = true;
    }
  }

  /** In order: none is sent before those ahead of it were, and none again while one ahead of it may still come. */
  #send(): void {
    const ledger = this.#ledger;
    const id = this.#id;
    if (ledger?.begun !== true || ledger.closed || id === undefined || this.#left) return;
    let number = ledger.lastOf(id);
    let awaited = false;
    for (const item of this.#pending.slice(0, inFlightMax)) {
      // Of a former self that is still in the view: whether it counted is not known yet.
      if (item.sent !== undefined && item.sent.id !== id) return;
      number++;
      if (item.sent !== undefined && item.again !== true) {
        awaited = true;
        continue;
      }
      if (item.again === true && awaited) return;
      item.again = false;
      item.sent = { id, number, atMs: this.#nowMs };
      this.#append({ kind: 'message', sender: id, number, service: item.service, body: Buffer.from(item.body) });
    }
  }

  #hear(): void {
    this.#probeSentMs = undefined;
    this.#heardMs = this.#nowMs;
    this.#alive = true;
  }

  #sendProbe(): void {
    this.#probeSentMs = this.#nowMs;
    this.#append({ kind: 'probe', token: this.#options.token });
  }

  #settle(ticket: number, indefinite?: string): void {
    this.#actions.push({ type: 'settle', ticket, ...(indefinite !== undefined && { indefinite }) });
  }

  #append(entry: Entry): void {
    if (this.#ledger !== undefined) this.#actions.push({ type: 'append', log: this.#ledger.log, bytes: encodeEntry(entry) });
  }
}
