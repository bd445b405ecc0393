/**
 * A primary that cannot be two: what a database's agent does next, from what it sees. Pure; roles/db-agent.ts looks, asks here, and does it, a step at a time.
 *
 * **Invariant.** A row that a client was told is stored is durable on the primary on record; and while the record says that the replica is in sync, the
 * running server that it names has received it, too. Only the primary on record acknowledges anything.
 *
 * **The record** in ZooKeeper names the primary, counts epochs (one for each change of the primary), and says whether the replica may take its place: that is a
 * property of one running server, its boot id, as MariaDB drops what it has received and not applied when it starts again. It is changed by
 * compare-and-set only. Three rules keep the invariant; each step below is one of them.
 *
 * 1. *Semi-sync is ON, or the record says that nobody else may be promoted.* With it ON a commit waits for ever for the replica. It is turned OFF only after this
 *    agent's own write of `replicaInSync: false` succeeded, even where the record says so already: the write also makes any earlier one fail that is still under
 *    way. It says `true` only after the replica has acknowledged a marker committed under semi-sync, and the same boot id was connected before and after.
 * 2. *A replica is promoted by the record.* It stops receiving, so that the old primary acknowledges nothing anymore; applies all that it has received; and only
 *    then writes itself into the record, which fails if the old primary went on alone meanwhile. An agent that gives it up writes the record before it
 *    receives again: a promotion under way from its former life then fails.
 * 3. *A server starts closed, read-only and with semi-sync OFF, and replicates once in its life.* MariaDB drops the relay log when both its threads stopped and
 *    start again; a server to which that happened is killed. What was the primary and is not anymore is killed, never asked to stop: a clean
 *    shutdown and KILL QUERY tell clients OK for rows that no other machine has.
 *
 * What cannot be undone (loading another's data, following) comes after a successful write of the record: a read may be old, a write cannot; and only while the
 * primary's data have the beginning of the record's epoch: a primary that has lost its disk has nothing to copy.
 * The registry, VRRP and the silence of the primary only say when to try. All of them may be wrong: then a try costs some waiting, never a row. A primary that
 * hears neither ZooKeeper nor its replica for a lease is fenced so that clients do not hang on it; nothing else depends on that.
 *
 * The ideas are those of Patroni's synchronous mode for PostgreSQL, https://patroni.readthedocs.io/en/latest/replication_modes.html,
 * with MariaDB's semi-sync in the place of its synchronous replication.
 */

/** The text of the record `database`. */
export interface DatabaseRecord {
  /** Grows by one with each change of the primary. */
  readonly epoch: number;
  readonly primary: string;
  readonly replicaInSync: boolean;
  /** Of the replica's running server, while it is in sync; otherwise empty. */
  readonly replicaBootId: string;
}

/** What an agent sees of its own server. */
export interface ServerState {
  /** Another one after each start. */
  readonly bootId: string;
  /** Nothing of value is in it: it was just made, or is to be filled from the primary. */
  readonly empty: boolean;
  /** The last epoch that its data know of; 0: none. */
  readonly epoch: number;
  readonly writable: boolean;
  /** Commits wait for the replica. */
  readonly semiSync: boolean;
  /** Of the replica whose replication is connected. */
  readonly replicaBootId: string | undefined;
  /** Commits that wait for the replica now. */
  readonly waiting: number;
  /** Commits that a replica has acknowledged in this life. */
  readonly acknowledged: number;
  /** Sequence number of its last transaction. */
  readonly position: number;
  /** Undefined: it is nobody's replica. */
  readonly replication: Replication | undefined;
}

export interface Replication {
  /** In this life of the server. */
  readonly started: boolean;
  /** The thread that receives runs, connected or not. */
  readonly receiving: boolean;
  /** The thread that applies runs. */
  readonly applying: boolean;
  /** Sequence numbers of the last transactions, whole ones. */
  readonly received: number;
  readonly applied: number;
  /** Changes with each sign of life from the primary's server, also without any transaction. */
  readonly sign: string;
  /** Replication ended with an error that shows that the data are not the primary's. */
  readonly differs: boolean;
}

export interface Situation {
  readonly me: string;
  /** Becomes the first primary where there is no record yet. */
  readonly founder: boolean;
  /** The newest that this process has seen. Undefined with contact: there is none. */
  readonly record: DatabaseRecord | undefined;
  /** The record was read just now. */
  readonly contact: boolean;
  readonly sinceContactMs: number;
  /** An operator wants this one to be the primary. */
  readonly asked: boolean;
  /** The registry or VRRP misses the peer. */
  readonly peerMissed: boolean;
  readonly server: ServerState;
  /** Since the last sign of the primary's server on the replication connection. */
  readonly quietMs: number;
  /** The replica's server that acknowledged a marker since semi-sync is ON. */
  readonly confirmed: string | undefined;
  /** For how long there has been no confirmed replica, since the agent or the replica's connection changed. */
  readonly unconfirmedMs: number;
  /** For how long commits have waited without any acknowledgement. */
  readonly waitingMs: number;
  /** Since the replica acknowledged something or its agent said that it receives. */
  readonly replicaSilentMs: number;
  /** Whether the replica applies what it receives and is not late; undefined: nobody knows. */
  readonly replicaFit: boolean | undefined;
  /** Since the primary last went on alone. */
  readonly aloneMs: number;
}

export type Step =
  /** Nothing to do; `why` is for people, where it is not as it should be. */
  | { readonly do: 'wait'; readonly why?: string }
  /** Clients may come: what was opened stays open. */
  | { readonly do: 'serve' }
  /** Close to clients, kill the server. */
  | { readonly do: 'fence'; readonly why: string }
  /** Write the first record. */
  | { readonly do: 'found' }
  /** Write the record (`replicaInSync: false`), turn semi-sync OFF, open. */
  | { readonly do: 'goAlone'; readonly why: string }
  | { readonly do: 'turnSemiSyncOn' }
  /** Commit a marker, and see who acknowledges it. */
  | { readonly do: 'mark' }
  /** Write the record: the replica of this boot id is in sync. */
  | { readonly do: 'admit'; readonly bootId: string }
  /** Let clients in, with semi-sync ON. */
  | { readonly do: 'open' }
  /** If the primary has all that this server has: write the record, then begin to follow. Otherwise as `empty`. */
  | { readonly do: 'follow' }
  /** If the primary has its data: save what only this server has, write the record, then become empty. */
  | { readonly do: 'empty'; readonly why: string }
  /** If the primary has its data: write the record, then fill from it. */
  | { readonly do: 'load' }
  | { readonly do: 'stopReceiving' }
  /** Write the record, then receive again. */
  | { readonly do: 'receive' }
  /** Write the record: this one is the primary, of the next epoch. */
  | { readonly do: 'takeOver' }
  /** Forget that this was a replica. */
  | { readonly do: 'leaveReplication' };

/** A commit on one network takes milliseconds, a replica's reconnection a second: what takes longer is lost, and writes are to go on within 3 s. */
export const patienceMs = 1_500;
/** The primary's server sends something every 200 ms. */
export const quietMsMax = 1_000;
/** More than an agent's restart takes on a busy machine; less than clients wait. */
export const leaseMs = 5_000;
/** Between two tries with the same replica: each may hold up clients for as long as the primary is patient. */
export const retryMs = 3_000;

const wait = (why?: string): Step => ({ do: 'wait', ...(why !== undefined && { why }) });
const fence = (why: string): Step => ({ do: 'fence', why });

/** The next step. One at a time: after it everything may have changed. */
export function nextStep(situation: Situation): Step {
  const { me, founder, record, contact, server } = situation;
  if (record === undefined) {
    if (server.writable) return underLease(situation);
    if (!contact) return wait('the record of the primary is not known yet');
    return founder && server.epoch === 0 ? { do: 'found' } : wait('there is no record of a primary');
  }
  if (record.epoch < server.epoch) {
    const why = `its data are of epoch ${server.epoch}, the record of ${record.epoch}: see newMaster --force`;
    return server.writable ? fence(why) : wait(why);
  }
  return record.primary === me ? asPrimary(situation, record) : asReplica(situation, record);
}

function asPrimary(situation: Situation, record: DatabaseRecord): Step {
  const { server } = situation;
  if (server.empty) return wait('it is the primary on record and has lost its data: the replica has to take over');
  if (server.replication !== undefined) return becomePrimary(server.replication);
  if (server.semiSync) return together(situation, record);
  if (server.writable) return alone(situation, record);
  return record.replicaInSync ? reopen(situation) : asRecorded(situation, { do: 'goAlone', why: 'it is the primary on record' });
}

/** The record came first, and with it all that this one had received was applied. */
function becomePrimary({ started, receiving, applying, received, applied }: Replication): Step {
  if (receiving) return { do: 'stopReceiving' };
  // What cannot be applied is lost: by force only.
  if (started && applying && applied < received) return wait('it applies what it has received');
  return { do: 'leaveReplication' };
}

/** The primary on record has started again: the replica in sync confirms that it has not been promoted, or is put out. */
function reopen(situation: Situation): Step {
  if (situation.server.replicaBootId !== undefined) return { do: 'turnSemiSyncOn' };
  if (situation.unconfirmedMs <= patienceMs) return wait();
  return asRecorded(situation, { do: 'goAlone', why: 'the replica has not come back' });
}

/** Semi-sync is ON: whatever is acknowledged is on both. */
function together(situation: Situation, record: DatabaseRecord): Step {
  const { server, contact, confirmed, waitingMs, unconfirmedMs, replicaFit } = situation;
  const held = underLease(situation);
  if (held.do === 'fence') return held;
  const sure = confirmed !== undefined && confirmed === server.replicaBootId;
  const why =
    waitingMs > patienceMs ? 'the replica acknowledges nothing' : replicaFit === false ? 'the replica is late' : undefined;
  if (why !== undefined) return asRecorded(situation, { do: 'goAlone', why });
  if (sure) {
    const admitted = record.replicaInSync && record.replicaBootId === confirmed;
    if (!admitted) return asRecorded(situation, { do: 'admit', bootId: confirmed });
    return server.writable ? held : { do: 'open' };
  }
  if (contact && unconfirmedMs > patienceMs) return { do: 'goAlone', why: 'the replica is gone' };
  return server.replicaBootId === undefined ? held : { do: 'mark' };
}

/** Semi-sync is OFF, the record says that nobody else can be promoted. */
function alone({ server, replicaFit, aloneMs, contact }: Situation, record: DatabaseRecord): Step {
  if (record.replicaInSync) return fence('commits do not wait for the replica, which the record says is in sync');
  const again = contact && replicaFit === true && server.replicaBootId !== undefined && aloneMs > retryMs;
  return again ? { do: 'turnSemiSyncOn' } : { do: 'serve' };
}

/** A step that needs the record to be written. Without ZooKeeper nothing changes. */
const asRecorded = (situation: Situation, step: Step): Step => (situation.contact ? step : underLease(situation));

function underLease({ server, sinceContactMs, replicaSilentMs }: Situation): Step {
  if (!server.writable) return wait('it waits for ZooKeeper or its replica');
  const lost = server.semiSync && sinceContactMs > leaseMs && replicaSilentMs > leaseMs;
  return lost ? fence('neither ZooKeeper nor the replica is heard: the replica may be the primary by now') : { do: 'serve' };
}

function asReplica(situation: Situation, record: DatabaseRecord): Step {
  const { server, contact, asked, peerMissed, quietMs } = situation;
  if (server.writable || server.semiSync) return fence(`${record.primary} is the primary of epoch ${record.epoch}`);
  if (!contact) return wait('ZooKeeper is away');
  if (server.empty) return { do: 'load' };
  const { replication } = server;
  if (replication?.started !== true) return { do: 'follow' };
  const promotable = record.replicaInSync && record.replicaBootId === server.bootId;
  // While the record names this one its data may be the only ones left.
  if (replication.differs && !promotable) return { do: 'empty', why: "its data differ from the primary's" };
  if (!replication.applying && !promotable) return fence('replication has stopped');
  if (promotable && (asked || (peerMissed && quietMs > quietMsMax))) return promote(replication);
  // With both threads stopped it would begin a new relay log, and drop the old one.
  if (!replication.receiving && replication.applying && !replication.differs) return { do: 'receive' };
  return wait();
}

/** A thread that applies has done so in all of this life, as it is never started a second time: nothing of what was received was dropped. */
function promote({ receiving, applying, received, applied }: Replication): Step {
  if (!applying) return wait('its replication has stopped: see newMaster --force');
  if (receiving) return { do: 'stopReceiving' };
  return applied < received ? wait('it applies what it has received') : { do: 'takeOver' };
}
