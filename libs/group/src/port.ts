/**
 * The port to group communication: a group of members that see the same messages and the same changes of membership, in the same order.
 *
 * The service is Spread's (Amir and Stanton, "The Spread Wide Area Group Communication System", 1998), in the tradition of virtual synchrony (Birman and Joseph,
 * 1987): any two members that go from one view to the next together have received the same messages between them. What no group of Spread has is a memory: adapters
 * with the feature `history` keep what was ordered, so that a multicast that resolved is in every later state, even when all members died meanwhile.
 */
import type { PlainLogger } from '@lab/process';

/**
 * Spread's services, weakest first: in the order of each sender; in causal order; in one order for all; in one order, and not before all have it. An adapter may
 * give more than was asked for, never less.
 */
export type Service = 'fifo' | 'causal' | 'agreed' | 'safe';
export const services: readonly Service[] = ['fifo', 'causal', 'agreed', 'safe'];

export interface Member {
  /** Of this membership: who leaves or is put out and comes back has another one, where the adapter has the feature `uniqueIds`. */
  readonly id: string;
  /** As given to `join`. */
  readonly name: string;
}

/** Why a view follows another: somebody came, said goodbye, was lost, or parts of the network lost or found each other. */
export type Cause = 'join' | 'leave' | 'disconnect' | 'network';

export interface View {
  readonly type: 'view';
  /** The same at every member that sees this view; never that of another view of the group, though without `uniqueIds` it may come back once the group had no members. */
  readonly id: string;
  readonly cause: Cause;
  /** The same at every member, in the same order: oldest first with `history`; without, in any order that the adapter has. */
  readonly members: readonly Member[];
  /** The id of the member that reads this, while it is in the view. */
  readonly self: string | undefined;
  /**
   * Those that came here from the same view as this member, itself included: what they had received before is what it had. All others are new, whatever the cause of the view, or come
   * from another part of a divided network. A newcomer's first view has only itself here.
   */
  readonly together: readonly string[];
}

export interface Message {
  readonly type: 'message';
  readonly sender: Member;
  /** What the sender asked for. */
  readonly service: Service;
  readonly body: Buffer;
}

/**
 * The stream begins here, and begins anew: this member is new to the group, or lost its place and missed something. What it has built from earlier events is void. With
 * `history`, `state` is what to begin from: the last one that was saved at a checkpoint, empty if there was none; then comes the view in force there, if there was one, and what followed it,
 * from before this member came too. Without, the state is for the others to tell, and the next event is the first view that has this member.
 */
export interface Base {
  readonly type: 'base';
  readonly state: Buffer | undefined;
}

/**
 * Only with `history`: what came before may be forgotten once `save` has been called with a state that stands for it: the state at exactly this place of the stream,
 * from which any member could go on. The group stands still meanwhile, so it is to be called soon, and at most once.
 */
export interface Checkpoint {
  readonly type: 'checkpoint';
  save(state: Uint8Array): void;
}

export type GroupEvent = Base | View | Message | Checkpoint;

/** One member's part in a group. Iterate it once; events that nobody takes wait, and after 64 MiB of them this member stops reading. */
export interface Membership extends AsyncIterable<GroupEvent> {
  /**
   * Sends to all members, this one included. Resolves when this member has received it in its place of the order (it is then in the stream, or was taken from it): whoever is in
   * the group from then on has it before everything that is sent later. Messages of one member keep their order. What has not been sent yet waits while this member is out of the group,
   * and goes out behind the next `Base`. Rejects with an `IndefiniteError` when the message was sent and nobody here can know its fate; with a `RangeError` for a body that is too long, or
   * when 64 MiB wait: it was not sent then. A body of 0 to `bodyBytesMax` bytes; it must not change before this has settled.
   */
  multicast(body: Uint8Array, service?: Service): Promise<void>;
  /** Leaves in good order; the stream ends. Multicasts that have not resolved reject: with an `IndefiniteError` those that may have been sent, with any error those that were not. */
  leave(): Promise<void>;
}

export interface Group {
  readonly features: Features;
  /**
   * Joins a group, which exists while it has members (with `history`, for ever). Resolves when membership has been asked for; the stream tells when this member is in: it begins with a `Base`, and
   * a view that has it follows. A name may be taken by several members at once only with `uniqueIds`; without, `join` may reject. Names of groups and members: 1 to 10 characters of
   * `A-Z a-z 0-9 _ -`, beginning with a letter.
   */
  join(group: string, name: string): Promise<Membership>;
  /** Leaves all groups. */
  close(): Promise<void>;
}

export interface Features {
  /** The order is kept: newcomers begin from a saved state, and nothing that resolved is lost when all members die. */
  readonly history: boolean;
  /** A divided network never has two groups: members outside of the one that goes on come back as new. */
  readonly primaryPartition: boolean;
  /** No id is ever used twice. */
  readonly uniqueIds: boolean;
  /** Longest body of a message. */
  readonly bodyBytesMax: number;
}

/** Where an adapter tells its story. */
export type GroupLogger = Pick<PlainLogger, 'info' | 'warn'>;

/** What an adapter without a log tells. */
export const silentGroup: GroupLogger = { info: () => {}, warn: () => {} };

/** The message may have been ordered or not: nobody here can tell anymore. */
export class IndefiniteError extends Error {
  constructor(what: string, options?: { cause?: unknown }) {
    super(what, options);
    this.name = new.target.name;
  }
}

const namePattern = /^[A-Za-z][A-Za-z0-9_-]{0,9}$/;

/** Throws a RangeError that names what is wrong: the shortest limits of all adapters hold for all, so that a name that one takes is taken by the others. */
export function checkName(what: 'group' | 'member', name: string): void {
  if (!namePattern.test(name)) {
    throw new RangeError(
      `the ${what}'s name is ${JSON.stringify(name)}: it must be 1 to 10 characters of A-Z a-z 0-9 _ -, beginning with a letter`,
    );
  }
}
