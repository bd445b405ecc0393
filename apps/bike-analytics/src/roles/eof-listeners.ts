/**
 * The two distributed barriers. The **eof-listener** counts the batches of a topic that the brokers have passed on; when all are through it tells
 * the filters of the topic that it has ended. The **eof-trips-listener** counts, for each query, the batches of trips that its
 * filter has passed on, and then tells the trips-solvers. What a barrier lets through is more than an order of arrival: everything counted is
 * confirmed in the next stage's queues before the end is.
 *
 * Both run once. What they have counted they hold unacknowledged, so they may die at any time.
 */
import type { Consumer, Delivery, Publication } from '@lab/middleware';
import type { Role } from '@lab/process';
import { Barrier } from '../domain/barrier.ts';
import { filtersOf, queries, type Topic } from '../domain/terms.ts';
import { decode, encode, type Head } from '../messages.ts';
import { everyShard, queueOf, shardExchange } from '../topology.ts';
import { consumeAlone, followSessions, Held, isSpareCopy } from './held.ts';
import type { SessionParts } from './parts.ts';

/** Where a barrier counts, and whom it tells when a topic is through. */
export interface Gate {
  queue: string;
  next(topic: Topic): Omit<Publication, 'body'>[];
}

export const eofListenerGates: readonly Gate[] = [
  { queue: queueOf.eofListener, next: (topic) => filtersOf[topic].map((filter) => ({ routingKey: queueOf.filter(filter) })) },
];

export const eofTripsListenerGates: readonly Gate[] = queries.map((query) => ({
  queue: queueOf.eofTripsListener(query),
  next: () => [{ exchange: shardExchange(query), routingKey: everyShard }],
}));

interface TopicCount {
  barrier: Barrier;
  end?: Head<'end'>;
}

export class EofListenerRole implements Role {
  readonly failed: Promise<never>;
  readonly #parts: SessionParts;
  readonly #gates: readonly Gate[];
  readonly #held: Held<TopicCount>;
  readonly #consumers: Consumer[] = [];
  readonly #fail: (reason: unknown) => void;
  #stopFollowing: (() => Promise<void>) | undefined;

  constructor(parts: SessionParts, gates: readonly Gate[]) {
    this.#parts = parts;
    this.#gates = gates;
    this.#held = new Held(parts, () => ({ barrier: new Barrier() }));
    ({ promise: this.failed, reject: this.#fail } = Promise.withResolvers<never>());
  }

  async start(): Promise<void> {
    this.#stopFollowing = await followSessions(this.#parts, () => [this.#held]);
    for (const gate of this.#gates) {
      const consumer = await consumeAlone(this.#parts, gate.queue, (delivery) => this.#take(gate, delivery));
      consumer.closed.catch(this.#fail);
      this.#consumers.push(consumer);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#consumers.map((consumer) => consumer.stop()));
    await this.#stopFollowing?.();
  }

  async #take(gate: Gate, delivery: Delivery): Promise<void> {
    const { head } = decode(delivery.body, 'passed', 'end');
    const part = this.#held.part(head.session, `${gate.queue} ${head.topic}`);
    if (part.done) return;
    const count = part.state;
    if (head.kind === 'end') {
      if (isSpareCopy(delivery, count.end !== undefined)) return;
      count.barrier.close(head.batches);
      count.end = head;
    } else {
      if (isSpareCopy(delivery, count.barrier.has(head.number))) return;
      count.barrier.add(head.number);
    }
    if (count.end !== undefined && count.barrier.open) {
      const end = count.end;
      await part.settleAfter(() => this.#open(gate, end));
    }
    return part.settled;
  }

  async #open(gate: Gate, end: Head<'end'>): Promise<void> {
    const body = encode(end);
    await Promise.all(gate.next(end.topic).map((target) => this.#parts.broker.publish({ ...target, body })));
    this.#parts.log.info({ session: end.session, topic: end.topic, batches: end.batches, queue: gate.queue }, 'barrier open');
  }
}
