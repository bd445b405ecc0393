/** What roles are given, and the two shapes of a stage: replicas that share a queue and keep nothing, and one instance that holds what it has seen. */
import {
  consumeAlone,
  followLeases,
  Held,
  heldMax,
  Leases,
  type Broker,
  type Consumer,
  type FollowOptions,
  type Handler,
} from '@lab/middleware';
import type { Clock, Logger, Role } from '@lab/process';
import { failureLimit } from '../topology.ts';

/** What every role is given: its connection to the broker, time, a log, and the meter of its rows. */
export interface RoleParts {
  broker: Broker;
  clock: Clock;
  log: Logger;
  /** Counts rows that this role has worked on (a trips-solver: trips); shown as `bike_rows_total` on /metrics. */
  countRows(rows: number): void;
}

/** What a role that keeps sessions is given besides: how they are leases, and a name of its own, new at every start. */
export type SessionParts = RoleParts & Omit<FollowOptions, 'onLost'>;

/** What a role holds of each session: parts by name, each acknowledged together. Sessions are leases, which the entry point keeps. */
export class Sessions<State> extends Leases<Map<string, Held<State>>> {
  readonly #make: (part: string) => State;

  constructor(parts: SessionParts, make: (part: string) => State) {
    super(
      parts,
      () => new Map(),
      (held) => held.forEach((part) => part.settle()),
    );
    this.#make = make;
  }

  /** The part, made when it is new. */
  part(session: string, name: string): Held<State> {
    const held = this.of(session);
    const part = held.get(name) ?? new Held(this.#make(name));
    held.set(name, part);
    return part;
  }
}

/** Batches worked on at once: enough to hide the broker's confirms, few enough to hold in memory (a batch is about 100 KB). */
const batchesAtOnce = 32;

/** A stateless stage: any number of replicas share its queue. */
export function sharedStage({ broker }: RoleParts, queue: string, take: Handler): Role {
  let consumer: Consumer | undefined;
  const { promise: failed, reject: fail } = Promise.withResolvers<never>();
  return {
    failed,
    async start() {
      consumer = await broker.consume(queue, take, { prefetch: batchesAtOnce, failureLimit });
      consumer.closed.catch(fail);
    },
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
      unfollow = await followLeases({ ...parts, onLost: fail }, () => [sessions]);
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
