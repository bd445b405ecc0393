/**
 * Trips-solver of one query: has all weather or stations of a session, and the trips of its shard, and makes of them the shard's
 * part of the answer. Replicas divide the shards among themselves by *seats*: to hold a seat is to be the only consumer of that shard's queue.
 *
 * A seat without a holder is taken by a replica that has none within a second, and by one that has a seat already within five; who has
 * several gives one up when a replica without a seat asks. All of that may happen in the middle of a session: the queue is the state.
 */
import { QueueLockedError, type Consumer, type Delivery } from '@lab/middleware';
import type { Role } from '@lab/process';
import { Barrier } from '../domain/barrier.ts';
import { newSolverState, type SolverState } from '../domain/solvers.ts';
import { decodeTable } from '../domain/table.ts';
import { filterNames, queryOf, type Query, type Topic } from '../domain/terms.ts';
import { decode, encode, type Head, type Message } from '../messages.ts';
import { failureLimit, queueOf, sessionExchange } from '../topology.ts';
import { followSessions, Held, heldMax, isSpareCopy } from './held.ts';
import type { SessionParts } from './parts.ts';

/** How often a replica without a seat looks for one. */
const seatlessMs = 1_000;
/** How often one that has a seat looks for another that is free: long enough for a restarted replica to take its place again. */
const seatedMs = 5_000;

/** What one shard of one session has seen so far. */
interface ShardState {
  barriers: Map<Topic, Barrier>;
  ends: Set<Topic>;
  rows: SolverState;
}

interface Seat {
  shard: number;
  consumer: Consumer;
  held: Held<ShardState>;
}

export class TripsSolverRole implements Role {
  readonly #parts: SessionParts;
  readonly #query: Query;
  readonly #shards: number;
  readonly #seats = new Map<number, Seat>();
  #lookedMs = 0;
  #looking: Promise<void> = Promise.resolve();
  #stops: (() => void | Promise<void>)[] = [];
  #stopped = false;

  constructor(parts: SessionParts, query: Query, shards: number) {
    this.#parts = parts;
    this.#query = query;
    this.#shards = shards;
  }

  async start(): Promise<void> {
    const held = (): Held<ShardState>[] => [...this.#seats.values()].map((seat) => seat.held);
    this.#stops.push(await followSessions(this.#parts, held, (query) => this.#giveUpSpareSeat(query)));
    await this.#lookForSeat();
    this.#stops.push(this.#parts.clock.every(seatlessMs, () => this.#lookWhenDue()));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const stop of this.#stops.reverse()) await stop();
    await this.#looking;
    await Promise.all([...this.#seats.values()].map((seat) => seat.consumer.stop()));
  }

  #lookWhenDue(): void {
    const nowMs = this.#parts.clock.nowMs();
    if (this.#seats.size > 0 && nowMs - this.#lookedMs < seatedMs) return;
    if (this.#seats.size === this.#shards) return;
    this.#looking = this.#looking
      .then(() => this.#lookForSeat())
      .catch((error: unknown) => this.#parts.log.warn({ err: error }, 'looking for a seat failed'));
  }

  async #lookForSeat(): Promise<void> {
    this.#lookedMs = this.#parts.clock.nowMs();
    for (let shard = 0; shard < this.#shards && !this.#stopped; shard++) {
      if (!this.#seats.has(shard) && (await this.#takeSeat(shard))) return;
    }
    if (this.#seats.size === 0 && !this.#stopped) {
      await this.#parts.broker.publish({
        exchange: sessionExchange,
        routingKey: '',
        body: encode({ kind: 'seatWanted', query: this.#query }),
      });
    }
  }

  async #takeSeat(shard: number): Promise<boolean> {
    const held = new Held(this.#parts, (shards) => this.#newShardState(shard, Number(shards)));
    const queue = queueOf.shard(this.#query, shard);
    const take = (delivery: Delivery): Promise<void> => this.#take(held, shard, delivery);
    try {
      const consumer = await this.#parts.broker.consume(queue, take, { prefetch: heldMax, exclusive: true, failureLimit });
      this.#seats.set(shard, { shard, consumer, held });
      consumer.closed.catch((error: unknown) => this.#loseSeat(shard, error));
    } catch (error) {
      if (error instanceof QueueLockedError) return false;
      throw error;
    }
    this.#parts.log.info({ query: this.#query, shard }, 'took a seat');
    return true;
  }

  #loseSeat(shard: number, error: unknown): void {
    this.#seats.delete(shard);
    this.#parts.log.warn({ query: this.#query, shard, err: error }, 'lost a seat');
  }

  /** What was held for the seat goes back to its queue, and on to whoever takes it. */
  #giveUpSpareSeat(query: Query): void {
    const seat = [...this.#seats.values()].at(-1);
    if (query !== this.#query || this.#seats.size < 2 || seat === undefined) return;
    this.#seats.delete(seat.shard);
    this.#lookedMs = this.#parts.clock.nowMs();
    this.#parts.log.info({ query, shard: seat.shard }, 'gave up a seat');
    seat.consumer.stop().catch((error: unknown) => this.#parts.log.warn({ err: error }, 'giving up a seat failed'));
  }

  #newShardState(shard: number, shards: number): ShardState {
    const wanted = filterNames.filter((filter) => queryOf(filter) === this.#query).map((filter) => filter.slice(0, -2) as Topic);
    const barriers = new Map(wanted.map((topic) => [topic, topic === 'trips' ? new Barrier(shard, shards) : new Barrier()]));
    return { barriers, ends: new Set(), rows: newSolverState[this.#query]() };
  }

  async #take(held: Held<ShardState>, shard: number, delivery: Delivery): Promise<void> {
    const message = decode(delivery.body, 'rows', 'end');
    const part = held.part(message.head.session, String(message.head.shards));
    if (part.done || !this.#add(part.state, delivery, message)) return;
    if ([...part.state.barriers.values()].every((barrier) => barrier.open)) {
      await part.settleAfter(() => this.#publishPartial(message.head, shard, part.state));
    }
    return part.settled;
  }

  /** Says whether the delivery is to be held. A batch counts only once its rows are in the state: one that fails may be tried again. */
  #add(state: ShardState, delivery: Delivery, { head, body }: Message<'rows' | 'end'>): boolean {
    const barrier = state.barriers.get(head.topic);
    if (barrier === undefined) throw new RangeError(`query ${this.#query} has no use for ${head.topic}`);
    if (head.kind === 'end') {
      if (isSpareCopy(delivery, state.ends.has(head.topic))) return false;
      barrier.close(head.batches);
      state.ends.add(head.topic);
      return true;
    }
    if (barrier.has(head.number)) return delivery.redelivered;
    const table = decodeTable(body);
    if (head.topic === 'trips') {
      state.rows.addTrips(head.number, head.city, table);
      this.#parts.countRows(head.rows);
    } else state.rows.addStatic(head.number, head.city, table);
    barrier.add(head.number);
    return true;
  }

  async #publishPartial({ session, shards }: Head<'rows' | 'end'>, shard: number, state: ShardState): Promise<void> {
    const body = encode(
      { kind: 'partial', session, shards, query: this.#query, shard },
      Buffer.from(JSON.stringify(state.rows.partial())),
    );
    await this.#parts.broker.publish({ routingKey: queueOf.solver(this.#query), body });
    this.#parts.log.info({ session, query: this.#query, shard }, 'partial answer');
  }
}
