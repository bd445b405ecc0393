/**
 * The queue is the state. A role that has to see many messages before it can answer holds their deliveries unacknowledged until its answer is
 * safe in the next queue. If it dies, the broker gives all of them back and the state is made again from them; so nothing is
 * written anywhere else, and nothing has to be kept in step with the queue.
 *
 * State is kept by session and part. A session is a lease: whatever was not renewed in time is acknowledged and forgotten.
 */
import { QueueLockedError, type Consumer, type Delivery, type Handler } from '@lab/middleware';
import type { Clock, Logger } from '@lab/process';
import type { Query } from '../domain/terms.ts';
import { decode } from '../messages.ts';
import { failureLimit, noticeTopology, queueOf } from '../topology.ts';
import type { RoleParts, SessionParts } from './parts.ts';

/** One unit of waiting: everything held for it is acknowledged together. */
export class Part<State> {
  readonly state: State;
  /** Resolves when what is held for this part may be acknowledged. A handler returns it. */
  readonly settled: Promise<void>;
  #settle!: () => void;
  #done = false;
  #publishing: Promise<void> | undefined;

  constructor(state: State) {
    this.state = state;
    this.settled = new Promise((resolve) => (this.#settle = resolve));
  }

  /** Its answer is out, or its session is over. Later deliveries are repeats. */
  get done(): boolean {
    return this.#done;
  }

  settle(): void {
    this.#done = true;
    this.#settle();
  }

  /** Publishes the part's answer once, and settles when it is confirmed. A failure is the caller's, and the next call tries again. */
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

interface Session<State> {
  parts: Map<string, Part<State>>;
  expiresMs: number;
}

/** The parts that an instance holds, by session. */
export class Held<State> {
  readonly #sessions = new Map<string, Session<State>>();
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #make: (part: string) => State;
  readonly #log: Logger;

  constructor(parts: { clock: Clock; leaseMs: number; log: Logger }, make: (part: string) => State) {
    this.#clock = parts.clock;
    this.#leaseMs = parts.leaseMs;
    this.#log = parts.log;
    this.#make = make;
  }

  /** The part, made when it is new. A message for a session is news of it. */
  part(sessionId: string, name: string): Part<State> {
    let session = this.#sessions.get(sessionId);
    if (session === undefined) this.#sessions.set(sessionId, (session = { parts: new Map(), expiresMs: 0 }));
    session.expiresMs = this.#clock.nowMs() + this.#leaseMs;
    let part = session.parts.get(name);
    if (part === undefined) session.parts.set(name, (part = new Part(this.#make(name))));
    return part;
  }

  renew(sessionId: string): void {
    const session = this.#sessions.get(sessionId);
    if (session !== undefined) session.expiresMs = this.#clock.nowMs() + this.#leaseMs;
  }

  /** Acknowledges and forgets all of a session. */
  drop(sessionId: string): void {
    const session = this.#sessions.get(sessionId);
    this.#sessions.delete(sessionId);
    for (const part of session?.parts.values() ?? []) part.settle();
  }

  dropExpired(): void {
    const nowMs = this.#clock.nowMs();
    for (const [id, session] of this.#sessions) {
      if (session.expiresMs > nowMs) continue;
      this.#log.info({ session: id }, 'session expired');
      this.drop(id);
    }
  }

  get sessions(): number {
    return this.#sessions.size;
  }
}

/**
 * A repeat of something that is held: the broker still has the first copy, unacknowledged, so this one may go at once. But a redelivered copy
 * may *be* the first one, come back over a new connection: it must be held in its place.
 */
export function isSpareCopy(delivery: Delivery, seenBefore: boolean): boolean {
  return seenBefore && !delivery.redelivered;
}

/** Keeps what is held in step with the sessions: renewals, ends, and the lapse of what nobody renews. Returns how to stop. */
export async function followSessions(
  parts: SessionParts,
  held: () => Iterable<Held<unknown>>,
  onSeatWanted: (query: Query) => void = () => {},
): Promise<() => Promise<void>> {
  const { broker, clock, instance, leaseMs } = parts;
  await broker.declare(noticeTopology(instance));
  const onNotice = ({ body }: Delivery): void => {
    const { head } = decode(body, 'renew', 'ended', 'seatWanted');
    if (head.kind === 'seatWanted') return onSeatWanted(head.query);
    for (const each of held()) {
      if (head.kind === 'renew') each.renew(head.session);
      else each.drop(head.session);
    }
  };
  const consumer = await broker.consume(queueOf.notices(instance), onNotice, { prefetch: 100 });
  const stopSweep = clock.every(leaseMs / 10, () => {
    for (const each of held()) each.dropExpired();
  });
  return async () => {
    stopSweep();
    await consumer.stop();
  };
}

/** Most deliveries that RabbitMQ lets one consumer hold: a prefetch of 0 would stop a quorum queue's deliveries at 2,000. */
export const heldMax = 65_535;

/** A predecessor that was killed is noticed at once, one that hangs after two heartbeats of 5 s. */
const patienceMs = 15_000;

/**
 * Consumes a queue as its only consumer: for the roles that run once, whose state would be torn in two by a second instance. Waits for a
 * predecessor to be noticed as dead; if the queue is still taken then, another instance lives, and this one gives up.
 */
export async function consumeAlone(parts: RoleParts, queue: string, handler: Handler): Promise<Consumer> {
  const deadlineMs = parts.clock.nowMs() + patienceMs;
  for (;;) {
    try {
      // Dead letters have nowhere to go from where they are.
      return await parts.broker.consume(queue, handler, {
        prefetch: heldMax,
        exclusive: true,
        ...(queue !== queueOf.dead && { failureLimit }),
      });
    } catch (error) {
      if (!(error instanceof QueueLockedError)) throw error;
      if (parts.clock.nowMs() > deadlineMs)
        throw new Error(`this role runs once, and another instance of it consumes "${queue}": stop one of them`, {
          cause: error,
        });
      parts.log.info({ queue }, 'waiting for the queue: another consumer has it');
    }
    await new Promise<void>((resolve) => void parts.clock.after(500, resolve));
  }
}
