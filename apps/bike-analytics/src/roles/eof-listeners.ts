/**
 * The two distributed barriers. The **eof-listener** counts the batches of a topic that the brokers have passed on; when all are through it tells
 * the filters of the topic that it has ended. The **eof-trips-listener** counts, for each query, the batches of trips that its
 * filter has passed on, and then tells the trips-solvers. What a barrier lets through is more than an order of arrival: everything counted is
 * confirmed in the next stage's queues before the end is.
 *
 * Both run once. What they have counted they hold unacknowledged, so they may die at any time.
 */
import { Barrier, isSpareCopy, type Delivery, type Publication } from '@lab/middleware';
import type { Role } from '@lab/process';
import { filtersOf, queries } from '../domain/queries.ts';
import type { Topic } from '../domain/terms.ts';
import { decode, encode, type Head } from '../messages.ts';
import { everyShard, queueOf, shardExchange } from '../topology.ts';
import { holdingStage, type SessionParts, Sessions } from './stages.ts';

/** Where a barrier counts, and whom it tells when a topic is through. */
export interface Gate {
  queue: string;
  next(topic: Topic): Omit<Publication, 'body'>[];
}

export const eofListenerGates: readonly Gate[] = [
  { queue: queueOf.eofListener, next: (topic) => filtersOf[topic].map(({ name }) => ({ routingKey: queueOf.filter(name) })) },
];

export const eofTripsListenerGates: readonly Gate[] = queries.map(({ number }) => ({
  queue: queueOf.eofTripsListener(number),
  next: () => [{ exchange: shardExchange(number), routingKey: everyShard }],
}));

interface TopicCount {
  barrier: Barrier;
  end?: Head<'end'>;
}

export function eofListenerRole(parts: SessionParts, gates: readonly Gate[]): Role {
  const sessions = new Sessions<TopicCount>(parts, () => ({ barrier: new Barrier() }));

  async function open(gate: Gate, end: Head<'end'>, last: Delivery): Promise<void> {
    const body = encode(end);
    const publish = (target: Omit<Publication, 'body'>): Promise<void> =>
      parts.broker.publish({ ...target, body, causes: [last] });
    await Promise.all(gate.next(end.topic).map(publish));
    parts.log.info({ session: end.session, topic: end.topic, batches: end.batches, queue: gate.queue }, 'barrier open');
  }

  async function take(gate: Gate, delivery: Delivery): Promise<void> {
    const { head } = decode(delivery.body, 'passed', 'end');
    const part = sessions.part(head.session, `${gate.queue} ${head.topic}`);
    const count = part.state;
    if (part.done) return;
    if (head.kind === 'end') {
      if (isSpareCopy(delivery, count.end !== undefined)) return;
      count.barrier.close(head.batches);
      count.end = head;
    } else {
      if (isSpareCopy(delivery, count.barrier.has(head.number))) return;
      count.barrier.add(head.number);
    }
    const { end } = count;
    if (end !== undefined && count.barrier.open) await part.settleAfter(() => open(gate, end, delivery));
    return part.settled;
  }

  return holdingStage(parts, sessions, new Map(gates.map((gate) => [gate.queue, (delivery) => take(gate, delivery)])));
}
