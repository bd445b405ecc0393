/** What an agent needs of its machine. */
import type { ServerState } from './domain/next-step.ts';
import type { PeerStatus } from './domain/timing.ts';

/**
 * The running server of this machine, from its first connection to its end: one life. All methods reject when the server ends, or does not answer in time;
 * then this is of no use anymore, and neither is the agent.
 */
export interface DatabaseServer {
  observe(): Promise<ServerState>;
  /**
   * Commits a row that every replica receives, and resolves with the boot id of the replica that acknowledged it: the same one was connected before
   * and after. Resolves with `undefined` where nobody knows who did. With semi-sync ON it waits for a replica, for ever if need be.
   */
  mark(): Promise<string | undefined>;
  setSemiSync(on: boolean): Promise<void>;
  /** Writes down in the data, if it is not there, where the epoch began: behind which transaction. */
  beginEpoch(epoch: number, primary: string): Promise<void>;
  setWritable(): Promise<void>;
  /**
   * Where this server's data and the primary's part; `none` if the primary has all that this one has. From the epochs in the primary's data: `unknown` while it
   * does not answer, or its data do not have the beginning of this epoch, because it has not begun it yet, or has lost its disk.
   */
  divergence(epoch: number): Promise<Divergence | 'none' | 'unknown'>;
  /** Saves the transactions behind the sequence number; how many of clients there are, and where. `undefined`: the server's log does not have them all anymore. */
  saveDivergence(divergence: Divergence): Promise<{ transactions: number; file: string } | undefined>;
  /** Begins to receive and apply what the primary has; once in a life. */
  follow(): Promise<void>;
  stopReceiving(): Promise<void>;
  receive(): Promise<void>;
  leaveReplication(): Promise<void>;
  /** Fills the empty server with the primary's data of one moment. */
  load(): Promise<void>;
  /** From now on the server is not empty. */
  keep(): Promise<void>;
  /** When the server starts again, it is empty; what it had is kept aside, until that happens again. */
  discard(): Promise<void>;
  /** Ends the server at once, as a power cut would. It starts again by itself: closed, read-only, with semi-sync OFF. */
  kill(): Promise<void>;
  /** Lets go of it: whatever is still under way rejects. */
  close(): void;
  /** Rejects when the server has ended. */
  readonly ended: Promise<never>;
}

/** The last transaction that both have, and the last that this one has. */
export interface Divergence {
  readonly common: string;
  readonly last: string;
}

/** Between clients and the server: a packet filter, and the floating address, which follows it. */
export interface Door {
  /** Clients reach the server, here and by the floating address. */
  open(): Promise<void>;
  /** No client's packet passes in either direction; the floating address is free for the other machine. The other database and the backup still get through. */
  close(): Promise<void>;
  /** Called in each round: where the door is open and this was not called for a lease, another process fences. */
  watched(): Promise<void>;
}

/** What else tells how the other machine is. */
export interface Peer {
  /** VRRP hears nothing of the other machine, or of a primary on it. */
  missed(): Promise<boolean>;
  /** What its agent said last, if that is not older than two rounds of asking. */
  status(): PeerStatus | undefined;
}
