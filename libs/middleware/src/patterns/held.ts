/**
 * Late acknowledgement: the queue is the state. A role that has to see many messages before it can answer holds their deliveries, by the
 * promises of its handlers, until its answer is confirmed elsewhere. If it dies, the broker gives all of them to whoever comes next, and the
 * state is made again from them: nothing is written anywhere else, and nothing has to be kept in step with the queue.
 *
 * Limits: one consumer holds at most `heldMax` deliveries, in memory as bodies and on the broker as messages. It has to be the queue's only
 * consumer (`consumeAlone`, `Seats`, or a `singleActiveConsumer`), or the state is torn in two. The answer may come twice.
 */
import type { Delivery } from '../port.ts';

/** Most deliveries that RabbitMQ lets one consumer hold: a prefetch of 0 would stop a quorum queue's deliveries at 2,000. */
export const heldMax = 65_535;

/** One unit of waiting, with what its deliveries have made so far: everything held for it is acknowledged together. */
export class Held<State> {
  readonly state: State;
  /** Resolves when what is held may be acknowledged. A handler returns it. */
  readonly settled: Promise<void>;
  readonly #settle: () => void;
  #done = false;
  #publishing: Promise<void> | undefined;

  constructor(state: State) {
    this.state = state;
    ({ promise: this.settled, resolve: this.#settle } = Promise.withResolvers<void>());
  }

  /** The answer is out, or nobody waits for it: deliveries that come now are repeats, to be acknowledged at once. */
  get done(): boolean {
    return this.#done;
  }

  /** Lets go of everything without an answer. */
  settle(): void {
    this.#done = true;
    this.#settle();
  }

  /**
   * Publishes the answer, and lets go when `publish` has resolved. While one call publishes, others wait for it. A failure is thrown
   * to all of them, so that their deliveries come again, and the next call publishes again.
   */
  async settleAfter(publish: () => Promise<void>): Promise<void> {
    this.#publishing ??= publish();
    try {
      await this.#publishing;
    } catch (error) {
      this.#publishing = undefined;
      throw error;
    }
    this.settle();
  }
}

/**
 * A repeat of something that is held: the broker still has the first copy, unacknowledged, so this one may go at once. But a redelivered
 * copy may *be* the first one, come back over a new connection: it must be held in its place.
 */
export function isSpareCopy(delivery: Pick<Delivery, 'redelivered'>, seenBefore: boolean): boolean {
  return seenBefore && !delivery.redelivered;
}
