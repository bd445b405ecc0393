/** The two shapes of a stage: replicas that share a queue and keep nothing, and one instance that holds what it has seen. */
import { consumeAlone, followLeases, heldMax, type Consumer, type Handler } from '@lab/middleware';
import type { Role } from '@lab/process';
import { failureLimit, sessionExchange } from '../topology.ts';
import type { RoleParts, Sessions, SessionParts } from './parts.ts';

/** Batches worked on at once: enough to hide the broker's confirms, few enough to hold in memory (a batch is about 100 KB). */
const batchesAtOnce = 32;

/** A stateless stage: any number of replicas share its queue. */
export function sharedStage({ broker }: RoleParts, queue: string, take: Handler): Role {
  let consumer: Consumer | undefined;
  return {
    start: async () => void (consumer = await broker.consume(queue, take, { prefetch: batchesAtOnce, failureLimit })),
    stop: async () => consumer?.stop({ drainMs: 5_000 }),
  };
}

/** A stage that runs once: it is the only consumer of its queues, and holds their deliveries by session until it has its answer. */
export function holdingStage<State>(parts: SessionParts, sessions: Sessions<State>, queues: ReadonlyMap<string, Handler>): Role {
  const consumers: Consumer[] = [];
  const { promise: failed, reject: fail } = Promise.withResolvers<never>();
  let unfollow: (() => Promise<void>) | undefined;
  return {
    failed,
    async start() {
      unfollow = await followLeases({ ...parts, exchange: sessionExchange }, () => [sessions]);
      for (const [queue, take] of queues) {
        const consumer = await consumeAlone(parts, queue, take, { prefetch: heldMax, failureLimit });
        consumer.closed.catch(fail);
        consumers.push(consumer);
      }
    },
    async stop() {
      await Promise.all(consumers.map((consumer) => consumer.stop()));
      await unfollow?.();
    },
  };
}
