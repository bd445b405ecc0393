/**
 * Leadership and state transfer, which Spread leaves to its users: a state that every member of a group has a copy of, because all change it by the same messages in the same
 * order (Schneider, "Implementing Fault-Tolerant Services Using the State Machine Approach", 1990). No I/O: events of the port in, outcomes out.
 *
 * - **Leader.** The oldest member of the view that is a candidate. Each leadership has an epoch, counted in the state itself, so all agree on it. What a leader says as
 *   the leader counts only in its own epoch: one that hung, and does not know yet that it is leader no more, is fenced.
 * - **Newcomers, with history:** the port's `base` is the state, and what follows is applied to it.
 * - **Newcomers, without:** in each view that has members without the state, the leader (or the oldest that has it, where the leader is new itself) sends the state as it
 *   is at the beginning of that view. The newcomer has kept all since that view, and applies it. Whoever dies sending it begins another view, and another sends. Where
 *   the oldest member has no state, nobody has: it begins with an empty one.
 * - **A divided network that comes together:** the part that has the oldest member keeps its state, the others are newcomers.
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
  /** To be multicast. */
  | { readonly type: 'send'; readonly body: Buffer }
  /** The state was replaced by another, that may or may not have what was submitted before. */
  | { readonly type: 'restored' };

export interface ReplicationOptions {
  readonly machine: Machine;
  readonly isCandidate: (member: Member) => boolean;
  /** The port's feature. */
  readonly history: boolean;
  /** Of the port: longer states travel in parts. */
  readonly bodyBytesMax: number;
}

/** A state on its way, by its sender. */
interface Arrival {
  readonly view: string;
  readonly parts: Buffer[];
}

/** For what stands around a part of a state. */
const partHeaderBytes = 1_000;
const nothing = Buffer.alloc(0);

export class Replication {
  readonly #options: ReplicationOptions;
  #leadership: { leader: Member | undefined; epoch: number } = { leader: undefined, epoch: 0 };
  #view: View | undefined;
  /** Has the state; without it events wait in `#kept`. */
  #synced = false;
  #kept: (View | Message)[] = [];
  /** Who has the state, as far as this member knows; only without history. */
  #withState = new Set<string>();
  #arrivals = new Map<string, Arrival>();
  #outcomes: Outcome[] = [];

  constructor(options: ReplicationOptions) {
    this.#options = options;
  }

  /** Nobody leads while there is no candidate, or this member does not have the state. */
  get leadership(): Leadership | undefined {
    const { leader, epoch } = this.#leadership;
    return this.#synced && leader !== undefined ? { leader, epoch } : undefined;
  }

  /** The view that this member is in, once it has the state. */
  get view(): View | undefined {
    return this.#synced ? this.#view : undefined;
  }

  handle(event: Base | View | Message): Outcome[] {
    if (event.type === 'base') this.#begin(event);
    else if (this.#synced) this.#process(event);
    else this.#keep(event);
    return this.#outcomes.splice(0);
  }

  /** For a checkpoint, and for newcomers. */
  snapshot(): Buffer {
    return joinParts(this.#leadership, this.#options.machine.snapshot());
  }

  #begin({ state }: Base): void {
    this.#kept = [];
    this.#arrivals.clear();
    this.#withState.clear();
    this.#synced = this.#options.history;
    if (this.#synced) this.#restore(state ?? nothing);
  }

  #restore(snapshot: Buffer): void {
    const parts = splitParts(snapshot);
    this.#leadership = { leader: undefined, epoch: 0, ...(parts?.header as Partial<Leadership>) };
    this.#options.machine.restore(parts?.body ?? nothing);
    this.#outcomes.push({ type: 'restored' });
  }

  /** Without the state. */
  #keep(event: View | Message): void {
    if (event.type === 'message' && this.#isPart(event)) return this.#takePart(event);
    this.#kept.push(event);
    if (event.type !== 'view') return;
    this.#forgetArrivals(event);
    // Those that have the state are older than those that do not.
    if (event.members[0]?.id === event.self) this.#found(event);
  }

  #found(view: View): void {
    this.#kept = [];
    this.#synced = true;
    this.#withState = new Set([view.members[0]!.id]);
    this.#restore(nothing);
    this.#process(view);
  }

  #process(event: View | Message): void {
    if (event.type === 'view') this.#processView(event);
    else if (this.#isPart(event)) this.#takePart(event);
    else this.#apply(event);
  }

  #processView(view: View): void {
    const { history, isCandidate, machine } = this.#options;
    this.#view = view;
    if (!history && !this.#keepsState(view)) return;
    const leader = leaderOf(view.members, isCandidate);
    if (leader?.id !== this.#leadership.leader?.id) {
      this.#leadership = { leader, epoch: this.#leadership.epoch + (leader === undefined ? 0 : 1) };
    }
    machine.viewChanged(view.members);
    if (!history) this.#sendState(view);
  }

  /** Whether this member's state is the group's: not if the network was divided and the oldest member was in another part. */
  #keepsState(view: View): boolean {
    const { members, together, cause } = view;
    this.#forgetArrivals(view);
    const kept = cause === 'network' ? together : members.map(({ id }) => id);
    const oldest = members[0]?.id;
    if (oldest === undefined || kept.includes(oldest)) {
      for (const id of this.#withState) if (!kept.includes(id)) this.#withState.delete(id);
      // An id may be used again: who comes in this view is new, whatever it is called.
      if (cause === 'join') for (const { id } of members) if (!together.includes(id)) this.#withState.delete(id);
      return true;
    }
    this.#synced = false;
    this.#kept = [view];
    return false;
  }

  #forgetArrivals(view: View): void {
    for (const sender of this.#arrivals.keys()) {
      if (!view.members.some(({ id }) => id === sender)) this.#arrivals.delete(sender);
    }
  }

  #sendState(view: View): void {
    const { leader } = this.#leadership;
    if (view.members.every(({ id }) => this.#withState.has(id))) return;
    const donor =
      leader !== undefined && this.#withState.has(leader.id)
        ? leader.id
        : view.members.find(({ id }) => this.#withState.has(id))?.id;
    if (donor !== view.self) return;
    const state = this.snapshot();
    const partBytes = Math.max(1, this.#options.bodyBytesMax - partHeaderBytes);
    const count = Math.max(1, Math.ceil(state.length / partBytes));
    for (let part = 0; part < count; part++) {
      const header = { kind: 'state', view: view.id, part, count };
      const body = joinParts(header, state.subarray(part * partBytes, (part + 1) * partBytes));
      this.#outcomes.push({ type: 'send', body });
    }
  }

  #isPart(message: Message): boolean {
    return splitParts(message.body)?.header['kind'] === 'state';
  }

  #takePart({ sender, body }: Message): void {
    const { header, body: bytes } = splitParts(body)!;
    const view = String(header['view']);
    if (header['part'] === 0) this.#arrivals.set(sender.id, { view, parts: [] });
    const arrival = this.#arrivals.get(sender.id);
    if (arrival?.view !== view || arrival.parts.length !== header['part']) return;
    arrival.parts.push(bytes);
    if (arrival.parts.length !== header['count']) return;
    this.#arrivals.delete(sender.id);
    this.#arrived(view, Buffer.concat(arrival.parts));
  }

  /** All who were in that view, and have not left since, have the state now. */
  #arrived(viewId: string, state: Buffer): void {
    if (this.#synced) {
      if (this.#view?.id === viewId) for (const { id } of this.#view.members) this.#withState.add(id);
      return;
    }
    const at = this.#kept.findIndex((event) => event.type === 'view' && event.id === viewId);
    const view = this.#kept[at];
    // Sent for a view before this member came.
    if (view?.type !== 'view') return;
    const since = this.#kept.slice(at + 1);
    this.#kept = [];
    this.#synced = true;
    this.#view = view;
    this.#restore(state);
    this.#withState = new Set(view.members.map(({ id }) => id));
    for (const event of since) if (this.#synced) this.#process(event);
  }

  #apply({ body, sender }: Message): void {
    const parts = splitParts(body);
    const { kind, token, number, epoch } = parts?.header ?? {};
    if (parts === undefined || typeof token !== 'string' || typeof number !== 'number') return;
    const id = { token, number };
    if (kind === 'leader' && (epoch !== this.#leadership.epoch || sender.id !== this.#leadership.leader?.id)) {
      this.#outcomes.push({ type: 'fenced', id });
    } else if (kind === 'leader' || kind === 'command') {
      this.#outcomes.push({ type: 'applied', id, result: this.#options.machine.apply(parts.body, sender) });
    }
  }
}

/** A command for `multicast`: anybody's, or with an epoch one of the leader of that epoch. */
export function encodeCommand(id: CommandId, command: Uint8Array, epoch?: number): Buffer {
  return joinParts(epoch === undefined ? { kind: 'command', ...id } : { kind: 'leader', ...id, epoch }, command);
}
