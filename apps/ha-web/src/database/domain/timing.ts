/** Times that an agent keeps: how long something has been as it is, and how late a replica is. Pure: the time is an argument, in ms on a clock that never goes back. */
import type { AgentStatus } from './agent-status.ts';
import type { ServerState, Situation } from './next-step.ts';

/** What the other database's agent says of its server, as far as it matters here. */
export type PeerStatus = Pick<AgentStatus, 'bootId' | 'lagMs' | 'position'>;

/** The part of a situation that an agent measures, from one look to the next. It begins anew with each agent. */
type Measured = Pick<
  Situation,
  'sinceContactMs' | 'quietMs' | 'confirmed' | 'unconfirmedMs' | 'waitingMs' | 'replicaSilentMs' | 'replicaFit' | 'aloneMs'
>;

/** A replica that is later than this would keep clients waiting after a takeover. */
const lagMsMax = 2_000;
/** Transactions that a replica catches up with within the primary's patience. */
const behindMax = 500;

export class Timing {
  readonly #lag = new Lag();
  readonly #quiet: Unchanged;
  readonly #waiting: Unchanged;
  readonly #acknowledged: Unchanged;
  #confirmed: string | undefined;
  /** When the record was read, a replica was confirmed, the replica's agent was heard, the primary went on alone. */
  #contactMs: number;
  #confirmedMs: number;
  #heardMs: number;
  #aloneMs: number;

  constructor(nowMs: number) {
    [this.#quiet, this.#waiting, this.#acknowledged] = [new Unchanged(nowMs), new Unchanged(nowMs), new Unchanged(nowMs)];
    this.#contactMs = this.#confirmedMs = this.#heardMs = this.#aloneMs = nowMs;
  }

  /** The record was read. */
  contact(nowMs: number): void {
    this.#contactMs = nowMs;
  }

  /** Semi-sync was turned ON: whether the replica is there is to be seen from now on. */
  awaitsReplica(nowMs: number): void {
    this.#confirmedMs = nowMs;
  }

  /** The replica of this boot id has acknowledged a marker; `undefined`: nobody knows which. */
  confirm(bootId: string | undefined): void {
    this.#confirmed = bootId;
  }

  goesAlone(nowMs: number): void {
    this.#aloneMs = nowMs;
  }

  /** Of a replica that has been measured. */
  lagMs(applied: number, nowMs: number): number {
    return this.#lag.ms(applied, nowMs);
  }

  measure(server: ServerState, peer: PeerStatus | undefined, nowMs: number): Measured {
    const { replication, semiSync, replicaBootId, waiting, acknowledged } = server;
    if (replication !== undefined) this.#lag.see(replication.received, nowMs);
    if (!semiSync || this.#confirmed !== replicaBootId) this.#confirmed = undefined;
    if (this.#confirmed !== undefined) this.#confirmedMs = nowMs;
    if (peer?.lagMs !== undefined && peer.bootId === replicaBootId) this.#heardMs = nowMs;
    const waitingMs = this.#waiting.ms(waiting === 0 ? undefined : acknowledged, nowMs);
    const acknowledgedMs = this.#acknowledged.ms(acknowledged, nowMs);
    return {
      sinceContactMs: nowMs - this.#contactMs,
      quietMs: this.#quiet.ms(replication?.sign, nowMs),
      confirmed: this.#confirmed,
      unconfirmedMs: nowMs - this.#confirmedMs,
      waitingMs: waiting === 0 ? 0 : waitingMs,
      replicaSilentMs: Math.min(acknowledgedMs, nowMs - this.#heardMs),
      replicaFit: fitness(server, peer),
      aloneMs: nowMs - this.#aloneMs,
    };
  }
}

function fitness(server: ServerState, peer: PeerStatus | undefined): boolean | undefined {
  if (peer === undefined || peer.bootId !== server.replicaBootId) return undefined;
  const { lagMs, position } = peer;
  if (lagMs === undefined || lagMs > lagMsMax) return false;
  // While commits wait for it, it has received all of them.
  return server.semiSync || (position !== undefined && server.position - position <= behindMax);
}

/** Tells for how long a value has been the same. */
export class Unchanged {
  #value: unknown;
  #sinceMs: number;
  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  ms(value: unknown, nowMs: number): number {
    if (value !== this.#value) {
      this.#value = value;
      this.#sinceMs = nowMs;
    }
    return nowMs - this.#sinceMs;
  }
}

/** One look a round; what was received longer ago than they reach is late anyway. */
const samplesMax = 100;

/** The age of the oldest transaction that was received and not applied, to the accuracy of the looks: by the replica's own clock, whatever the primary's shows. */
export class Lag {
  #samples: { readonly atMs: number; readonly received: number }[] = [];

  see(received: number, atMs: number): void {
    if (this.#samples.at(-1)?.received !== received) this.#samples.push({ atMs, received });
    if (this.#samples.length > samplesMax) this.#samples.splice(1, 1);
  }

  ms(applied: number, nowMs: number): number {
    this.#samples = this.#samples.filter((sample, index) => sample.received > applied || index === this.#samples.length - 1);
    const oldest = this.#samples[0];
    return oldest === undefined || oldest.received <= applied ? 0 : nowMs - oldest.atMs;
  }
}
