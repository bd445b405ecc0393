import type { Broker } from '@lab/middleware';
import { PromiseBroken } from '@lab/simulation';
import { decode } from '../src/messages.ts';
import { queueOf } from '../src/topology.ts';

/** A requester's broker, which tells of what it must not do with `due`. */
export function watchedBroker(broker: Broker, fail: (broken: PromiseBroken) => void): Broker {
  const confirmed = new Set<string>();
  return {
    features: broker.features,
    lost: broker.lost,
    incarnation: () => broker.incarnation(),
    declare: (topology) => broker.declare(topology),
    append: (log, body) => broker.append(log, body),
    read: (log, from) => broker.read(log, from),
    remove: (what) => broker.remove(what),
    close: () => broker.close(),
    async publish(message) {
      const { head } = decode(Buffer.from(message.body), 'progress', 'ended');
      if (head.kind === 'ended' && head.outcome.reason === 'the connection is closed: by us')
        fail(new PromiseBroken('What a stop breaks off has not failed', head.path));
      await broker.publish(message);
      if (head.kind === 'ended') confirmed.add(head.attempt);
    },
    consume: (queue, handler, options) =>
      broker.consume(
        queue,
        async (delivery) => {
          await handler(delivery);
          if (queue !== queueOf.due) return;
          const { head } = decode(delivery.body, 'due', 'scrub', 'sweep');
          if (head.kind === 'due' && !confirmed.has(head.attempt))
            fail(new PromiseBroken('`due` is acknowledged when its outcome is confirmed', head.path));
        },
        options,
      ),
  };
}
