/**
 * Leadership and state transfer, which Spread leaves to its users: a state that every member of a group has a copy of, because all change it by the same messages in the same
 * order (Schneider, "Implementing Fault-Tolerant Services Using the State Machine Approach", 1990). No I/O: events of the port in, outcomes out.
 *
 * - **Leader.** The candidate that has been in the group longest; ages are part of the state, for a port without history does not tell them. Each leadership has an epoch, also part of
 *   the state, so all agree on it. What a leader says as the leader counts only in its own epoch: one that hung, and does not know yet that it leads no more, is fenced.
 * - **With history** the port's `base` is the state, and what follows is applied to it.
 * - **Without**, who has no state says so in each view, and keeps all events. Those who have it hear that at one place of the order; the first member of the view that has not
 *   said so sends the state as it is at that place, and what was kept from there on is applied to it. If the sender dies, there is another view, and all begin again. Where all members of
 *   a view have said that they have none, all begin with the empty state.
 * - **A divided network that comes together:** all stop, and say in the new view how much their state has seen. When all have said it, the part that has seen most goes on, and the others
 *   ask it for its state. Epochs grow within such a part only; and they begin anew with the state, when all that had it are gone.
 */
import { joinParts, splitParts } from './parts.ts';
import type { Base, Member, Message, View } from './port.ts';

/** The state, and what changes it. All must be deterministic: nothing but the arguments and the state may decide, and nothing may throw. */
export interface Machine {
  /** What a member submitted; what is returned is what `submit` resolves with, at that member. Ill-formed commands must do nothing. */
  apply(command: Buffer, sender: Member): unknown;
  /** Who is there from now on, oldest first. It may come again without a change. */
  viewChanged(members: readonly Member[]): void;
  snapshot(): Uint8Array;
  /** Replaces the state; an empty snapshot is the state at the very beginning. */
  restore(snapshot: Buffer): void;
}

/** The oldest candidate. */
export function leaderOf(members: readonly Member[], isCandidate: (member: Member) => boolean): Member | undefined {
  return members.find(isCandidate);
}

export interface Leadership {
  readonly leader: Member;
  /** 1, 2, 3 ...: grows with each change of the leader. */
  readonly epoch: number;
}

/** A command's identity: its process, and a number there. */
export interface CommandId {
  readonly token: string;
  readonly number: number;
}

export type Outcome =
  | { readonly type: 'applied'; readonly id: CommandId; readonly result: unknown }
  /** Said as leader by one that was not the leader of that epoch (anymore). */
  | { readonly type: 'fenced'; readonly id: CommandId }
  /** To be multicast at once. */
  | { readonly type: 'send'; readonly body: Buffer }
  /** To be multicast one after the other. */
  | { readonly type: 'sendState'; readonly bodies: readonly Buffer[] }
  /** The state was replaced by another: what was ordered, and of which no outcome was told until now, is part of it or lost. */
  | { readonly type: 'restored' };

export interface ReplicationOptions {
  readonly machine: Machine;
  readonly isCandidate: (member: Member) => boolean;
  /** Different at each start of any process. */
  readonly token: string;
  /** The port's feature. */
  readonly history: boolean;
  /** Of the port: longer states travel in parts. */
  readonly bodyBytesMax: number;
}

/** A state on its way, by its sender. */
interface Arrival {
  readonly place: string;
  readonly parts: Buffer[];
}

/** For what stands around a part of a state. */
const partHeaderBytes = 1_000;
const nothing = Buffer.alloc(0);

export class Replication {
  readonly #options: ReplicationOptions;
  /**
   * `live`: has the group's state, and applies what comes. `held`: has one, and waits to hear which part of a divided network goes on. `without`: waits for one. What comes meanwhile
   * is in `#kept`.
   */
  #standing: 'live' | 'held' | 'without' = 'without';
  /** Oldest first, as of the state. */
  #members: readonly Member[] = [];
  #leader: Member | undefined;
  #epoch = 0;
  /** Views and messages that the state has seen since it was empty. */
  #seen = 0;
  /** The view in force at the state's place in the order. */
  #view: View | undefined;
  #outcomes: Outcome[] = [];

  // From here on, only without history.
  /** The newest view, applied or not. */
  #newest: View | undefined;
  #kept: (View | Message)[] = [];
  /** While `held`: those who hold the same state. */
  #part: readonly string[] = [];
  /** How much the state has seen of those who have said so in the newest view; -1 of those who have none. */
  #said = new Map<string, number>();
  /** This member has sent the state in the newest view. */
  #hasSent = false;
  #arrivals = new Map<string, Arrival>();
  #statuses = 0;

  constructor(options: ReplicationOptions) {
    this.#options = options;
  }

  /** Nobody leads while there is no candidate, or this member does not have the state. */
  get leadership(): Leadership | undefined {
    return this.#standing === 'live' && this.#leader !== undefined ? { leader: this.#leader, epoch: this.#epoch } : undefined;
  }

  /** The view that this member is in, oldest member first, once it has the state. */
  get view(): View | undefined {
    return this.#standing === 'live' ? this.#view : undefined;
  }

  handle(event: Base | View | Message): Outcome[] {
    const { history } = this.#options;
    if (event.type === 'base') this.#begin(event);
    else if (history) this.#apply(event);
    else if (event.type === 'view') this.#takeView(event);
    else this.#takeMessage(event);
    return this.#outcomes.splice(0);
  }

  /** For a checkpoint, and for newcomers. */
  snapshot(): Buffer {
    return joinParts({ members: this.#members, epoch: this.#epoch, seen: this.#seen }, this.#options.machine.snapshot());
  }

  #begin({ state }: Base): void {
    this.#kept = [];
    this.#arrivals.clear();
    this.#standing = 'without';
    if (this.#options.history) this.#goOn(state ?? nothing, undefined, []);
  }

  /** From a state, the view in force there, and what followed. */
  #goOn(snapshot: Buffer, view: View | undefined, since: readonly (View | Message)[]): void {
    const { header, body } = splitParts(snapshot) ?? { header: {}, body: nothing };
    const { members = [], epoch = 0, seen = 0 } = header as { members?: readonly Member[]; epoch?: number; seen?: number };
    this.#members = members;
    this.#epoch = epoch;
    this.#seen = seen;
    this.#leader = leaderOf(members, this.#options.isCandidate);
    this.#view = view && { ...view, members };
    this.#options.machine.restore(body);
    this.#resume(since);
    this.#outcomes.push({ type: 'restored' });
  }

  #resume(since: readonly (View | Message)[]): void {
    this.#standing = 'live';
    this.#kept = [];
    for (const event of since) this.#apply(event);
  }

  #apply(event: View | Message): void {
    this.#seen++;
    if (event.type === 'view') this.#applyView(event);
    else this.#applyMessage(event);
  }

  #applyView(view: View): void {
    const { history, isCandidate, machine } = this.#options;
    // Without history an id may be used again: who does not come from the view before is new, whatever it is called.
    const old = history ? view.members.map(({ id }) => id) : view.together;
    const stay = this.#members.filter(({ id }) => old.includes(id));
    const come = view.members.filter(({ id }) => !stay.some((member) => member.id === id));
    const members = [...stay, ...come];
    const leader = leaderOf(members, isCandidate);
    const goesOn = stay.some(({ id }) => id === this.#leader?.id);
    if (leader !== undefined && !goesOn) this.#epoch++;
    this.#leader = leader;
    this.#members = members;
    this.#view = { ...view, members };
    machine.viewChanged(members);
  }

  #applyMessage({ body, sender }: Message): void {
    const parts = splitParts(body);
    const { kind, token, number, epoch } = parts?.header ?? {};
    if (parts === undefined || typeof token !== 'string' || typeof number !== 'number') return;
    const id = { token, number };
    if (kind === 'leader' && (epoch !== this.#epoch || sender.id !== this.#leader?.id)) {
      this.#outcomes.push({ type: 'fenced', id });
    } else if (kind === 'leader' || kind === 'command') {
      this.#outcomes.push({ type: 'applied', id, result: this.#options.machine.apply(parts.body, sender) });
    }
  }

  #takeView(view: View): void {
    const { cause, members, together } = view;
    this.#newest = view;
    this.#said.clear();
    this.#hasSent = false;
    for (const sender of this.#arrivals.keys()) if (!together.includes(sender)) this.#arrivals.delete(sender);
    this.#part = this.#part.filter((id) => together.includes(id));
    if (cause === 'network' && members.some(({ id }) => !together.includes(id))) this.#meet(together);
    if (this.#standing === 'live') return this.#apply(view);
    this.#kept.push(view);
    this.#sayStatus();
  }

  /** Which state goes on is open from here on, so whatever is on its way is no use. */
  #meet(together: readonly string[]): void {
    this.#arrivals.clear();
    if (this.#standing === 'without') this.#kept = [];
    if (this.#standing !== 'live') return;
    this.#standing = 'held';
    this.#part = together;
  }

  #sayStatus(): void {
    const id = `${this.#options.token}.${++this.#statuses}`;
    const status = { kind: 'status', id, view: this.#newest?.id, seen: this.#standing === 'held' ? this.#seen : -1 };
    this.#outcomes.push({ type: 'send', body: joinParts(status, nothing) });
  }

  #takeMessage(message: Message): void {
    if (this.#standing === 'live') this.#apply(message);
    else this.#kept.push(message);
    const { header, body } = splitParts(message.body) ?? { header: {}, body: nothing };
    if (header['kind'] === 'state') this.#takePart(message.sender.id, header, body);
    if (header['kind'] === 'status' && header['view'] === this.#newest?.id) this.#takeStatus(message.sender.id, header);
  }

  #takeStatus(sender: string, { id, seen }: Readonly<Record<string, unknown>>): void {
    this.#said.set(sender, Number(seen));
    if (this.#standing !== 'live') this.#decide();
    if (this.#standing === 'live') this.#sendState(String(id));
  }

  /** Nobody in the view goes on with a state yet: once all have said what they have, all decide the same at the same place. */
  #decide(): void {
    const view = this.#newest;
    if (view === undefined || !view.members.every(({ id }) => this.#said.has(id))) return;
    const most = Math.max(...this.#said.values());
    const winner = view.members.find(({ id }) => this.#said.get(id) === most);
    if (most < 0) return this.#goOn(nothing, undefined, this.#kept.slice(this.#kept.indexOf(view)));
    if (this.#standing !== 'held') return;
    if (winner !== undefined && this.#part.includes(winner.id)) return this.#resume(this.#kept);
    this.#standing = 'without';
    this.#sayStatus();
  }

  /** As it is at the place of a status, to those who have none. */
  #sendState(place: string): void {
    const { members = [], self } = this.#newest ?? {};
    const isNeeded = members.some(({ id }) => this.#said.get(id) === -1);
    const sender = members.find(({ id }) => this.#said.get(id) !== -1);
    if (this.#hasSent || !isNeeded || sender?.id !== self) return;
    this.#hasSent = true;
    const state = this.snapshot();
    const partBytes = this.#options.bodyBytesMax - partHeaderBytes;
    const count = Math.ceil(state.length / partBytes);
    const bodies = Array.from({ length: count }, (_, part) =>
      joinParts({ kind: 'state', place, part, count }, state.subarray(part * partBytes, (part + 1) * partBytes)),
    );
    this.#outcomes.push({ type: 'sendState', bodies });
  }

  #takePart(sender: string, header: Readonly<Record<string, unknown>>, bytes: Buffer): void {
    const place = String(header['place']);
    if (this.#standing === 'live') return;
    if (header['part'] === 0) this.#arrivals.set(sender, { place, parts: [] });
    const arrival = this.#arrivals.get(sender);
    if (arrival?.place !== place || arrival.parts.length !== header['part']) return;
    arrival.parts.push(bytes);
    if (arrival.parts.length !== header['count']) return;
    this.#arrivals.delete(sender);
    this.#takeState(sender, place, Buffer.concat(arrival.parts));
  }

  #takeState(sender: string, place: string, state: Buffer): void {
    const at = this.#kept.findIndex((event) => event.type === 'message' && statusIdOf(event) === place);
    const view = this.#kept.slice(0, at).findLast((event) => event.type === 'view');
    const since = this.#kept.slice(at + 1);
    // Of a place before this member came, or by one that has lost its own state since.
    const isVoid = since.some((event) => event.type === 'view' && !event.together.includes(sender));
    if (at >= 0 && view !== undefined && !isVoid) this.#goOn(state, view, since);
  }
}

function statusIdOf({ body }: Message): unknown {
  const { kind, id } = splitParts(body)?.header ?? {};
  return kind === 'status' ? id : undefined;
}

/** A command for `multicast`: anybody's, or with an epoch one of the leader of that epoch. */
export function encodeCommand(id: CommandId, command: Uint8Array, epoch?: number): Buffer {
  return joinParts(epoch === undefined ? { kind: 'command', ...id } : { kind: 'leader', ...id, epoch }, command);
}
