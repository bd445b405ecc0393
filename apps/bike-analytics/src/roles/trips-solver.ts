/**
 * Trips-solver of one query: has all weather or stations of a session, and the trips of its shard, and makes of them the shard's
 * part of the answer. Replicas divide the shards among themselves by seats: to hold a seat is to be the only consumer of that shard's queue.
 * Seats may change hands in the middle of a session: the queue is the state.
 */
import { decodeTable } from '@lab/columns';
import { Barrier, followLeases, heldMax, isSpareCopy, Seats, type Delivery, type Handler } from '@lab/middleware';
import type { Role } from '@lab/process';
import type { AnyQuery, State } from '../domain/query.ts';
import { topics, type Topic } from '../domain/terms.ts';
import { decode, encode, type Head, type Message } from '../messages.ts';
import { failureLimit, queueOf, seatExchange } from '../topology.ts';
import { Sessions, type SessionParts } from './stages.ts';

/** What one shard of one session has seen so far. */
interface ShardState {
  barriers: Map<Topic, Barrier>;
  ends: Set<Topic>;
  /** Made with the first message, which has the session's settings. */
  rows: State<unknown> | undefined;
  /** When those who watch were last shown it. */
  shownMs: number;
}

/** Those who watch see a shard's part so far no more often than this: to join it takes a while. */
const showEveryMs = 2_000;

export class TripsSolverRole implements Role {
  readonly failed: Promise<never>;
  readonly #fail: (reason: unknown) => void;
  readonly #parts: SessionParts;
  readonly #query: AnyQuery;
  readonly #seats: Seats;
  /** What is held for each seat, by queue. */
  readonly #held = new Map<string, Sessions<ShardState>>();
  #unfollow: (() => Promise<void>) | undefined;

  constructor(parts: SessionParts, query: AnyQuery, shards: number) {
    this.#parts = parts;
    this.#query = query;
    ({ promise: this.failed, reject: this.#fail } = Promise.withResolvers<never>());
    const shardOf = new Map(Array.from({ length: shards }, (_, shard) => [queueOf.shard(query.number, shard), shard]));
    this.#seats = new Seats({
      ...parts,
      exchange: seatExchange(query.number),
      queues: [...shardOf.keys()],
      sit: (queue) => this.#sit(queue, shardOf.get(queue)!),
      left: (queue) => void this.#held.delete(queue),
      onLost: this.#fail,
      ...{ prefetch: heldMax, failureLimit },
    });
  }

  async start(): Promise<void> {
    this.#unfollow = await followLeases({ ...this.#parts, onLost: this.#fail }, () => this.#held.values());
    await this.#seats.start();
  }

  async stop(): Promise<void> {
    await this.#seats.stop();
    await this.#unfollow?.();
  }

  #sit(queue: string, shard: number): Handler {
    const sessions = new Sessions(this.#parts, (shards) => this.#newShardState(shard, Number(shards)));
    this.#held.set(queue, sessions);
    return (delivery) => this.#take(sessions, shard, delivery);
  }

  #newShardState(shard: number, shards: number): ShardState {
    const wanted = topics.filter((topic) => this.#query.topics[topic] !== undefined);
    const barriers = new Map(wanted.map((topic) => [topic, topic === 'trips' ? new Barrier(shard, shards) : new Barrier()]));
    return { barriers, ends: new Set(), rows: undefined, shownMs: this.#parts.clock.nowMs() };
  }

  async #take(sessions: Sessions<ShardState>, shard: number, delivery: Delivery): Promise<void> {
    const message = decode(delivery.body, 'rows', 'end');
    const part = sessions.part(message.head.session, String(message.head.shards));
    if (part.done || !this.#add(part.state, delivery, message)) return;
    this.#show(message.head, shard, part.state, delivery);
    if ([...part.state.barriers.values()].every((barrier) => barrier.open)) {
      await part.settleAfter(() => this.#publishPartial(message.head, shard, part.state, delivery));
    }
    return part.settled;
  }

  /** Says whether the delivery is to be held. A batch counts only once its rows are in the state: one that fails may be tried again. */
  #add(state: ShardState, delivery: Delivery, { head, body }: Message<'rows' | 'end'>): boolean {
    const barrier = state.barriers.get(head.topic);
    if (barrier === undefined) throw new RangeError(`query ${this.#query.number} has no use for ${head.topic}`);
    if (head.kind === 'end') {
      if (isSpareCopy(delivery, state.ends.has(head.topic))) return false;
      barrier.close(head.batches);
      state.ends.add(head.topic);
      return true;
    }
    if (barrier.has(head.number)) return delivery.redelivered;
    const table = decodeTable(body);
    const rows = (state.rows ??= this.#query.state(head.settings));
    if (head.topic === 'trips') {
      rows.addTrips(head.number, head.city, table);
      this.#parts.countRows(head.rows);
    } else rows.addStatic(head.number, head.city, table);
    barrier.add(head.number);
    return true;
  }

  /** Shows what there is so far, if the client wants to see it. A lost one does no harm: the next follows. */
  #show(head: Head<'rows' | 'end'>, shard: number, state: ShardState, last: Delivery): void {
    const nowMs = this.#parts.clock.nowMs();
    if (head.kind === 'end' || !head.progress || nowMs - state.shownMs < showEveryMs) return;
    state.shownMs = nowMs;
    this.#publishPartial(head, shard, state, last, true).catch((error: unknown) =>
      this.#parts.log.debug({ session: head.session, err: error }, 'showing progress failed'),
    );
  }

  /** Its cause is the message that made it complete: all of them are many thousands. */
  async #publishPartial(
    { session, shards, settings }: Head<'rows' | 'end'>,
    shard: number,
    state: ShardState,
    last: Delivery,
    soFar?: true,
  ): Promise<void> {
    const query = this.#query.number;
    const part = (state.rows ?? this.#query.state(settings)).part();
    const head = { kind: 'partial', session, shards, settings, query, shard, soFar } as const;
    const body = encode(head, Buffer.from(JSON.stringify(part)));
    await this.#parts.broker.publish({ routingKey: queueOf.solver(query), body, causes: [last] });
    if (soFar === undefined) this.#parts.log.info({ session, query, shard }, 'partial answer');
  }
}
