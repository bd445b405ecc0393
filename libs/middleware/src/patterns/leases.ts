/**
 * Sessions as leases: one role knows who is there (the *keeper*), others hold something for each of its sessions. The keeper renews a session
 * with all of them while it lasts and ends it once; what nobody renews lapses, so that a session whose keeper died for good costs nothing.
 *
 * Nobody lets go by a timer of his own alone: a holder looks for what has lapsed when a note to itself has come back through its queue of notices,
 * behind all renewals that waited there while it stood still. And it lets go when the keeper's queue has the word of it: a keeper whose own clock
 * stood still does not know that a lease is over. One whom the broker does not answer lets go of nothing.
 *
 * Limits: a notice may be lost with the queue of a role that dies, so renew several times in a lease. A session that some holder let go of, or that
 * could not be renewed for a whole lease, the keeper must not take up but begin again.
 */
import type { Clock } from '@lab/process/time';
import { UnroutableError } from '../errors.ts';
import type { Broker, Delivery } from '../port.ts';
import type { PatternParts } from './alone.ts';

/** What one holder has for each session. */
export class Leases<Value> {
  readonly #leases = new Map<string, { readonly value: Value; expiresMs: number }>();
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #log: PatternParts['log'];
  readonly #open: (session: string) => Value;
  readonly #close: (value: Value) => void;

  /** `open` makes what is held for a session that is new; `close` lets go of it when it was ended or has lapsed. */
  constructor(
    parts: Pick<PatternParts, 'clock' | 'log'> & { leaseMs: number },
    open: (session: string) => Value,
    close: (value: Value) => void,
  ) {
    this.#clock = parts.clock;
    this.#leaseMs = parts.leaseMs;
    this.#log = parts.log;
    this.#open = open;
    this.#close = close;
  }

  /** What is held for the session. A message for a session is news of it: it opens the lease, or renews it. */
  of(session: string): Value {
    const lease = this.#leases.get(session) ?? { value: this.#open(session), expiresMs: 0 };
    this.#leases.set(session, lease);
    lease.expiresMs = this.#clock.nowMs() + this.#leaseMs;
    return lease.value;
  }

  /** A session of which nothing is held is not opened by it. */
  renew(session: string): void {
    if (this.#leases.has(session)) this.of(session);
  }

  end(session: string): void {
    const lease = this.#leases.get(session);
    if (lease === undefined) return;
    this.#leases.delete(session);
    this.#close(lease.value);
  }

  /** Lets go of what has lapsed, each once `tell` has resolved; what cannot be told stays for the next time. */
  async endLapsed(tell: (session: string) => Promise<void>): Promise<void> {
    const nowMs = this.#clock.nowMs();
    const lapsed = [...this.#leases].filter(([, { expiresMs }]) => expiresMs <= nowMs).map(([session]) => session);
    await Promise.all(lapsed.map((session) => this.#endLapsed(session, tell)));
  }

  async #endLapsed(session: string, tell: (session: string) => Promise<void>): Promise<void> {
    try {
      await tell(session);
    } catch (error) {
      return this.#log.warn({ session, err: error }, 'a session has lapsed, and its keeper could not be told: it is kept');
    }
    this.#log.info({ session }, 'session lapsed');
    this.end(session);
  }

  get size(): number {
    return this.#leases.size;
  }
}

type Notice = 'renew' | 'end';

/** The keeper's side: tells all holders, and resolves when each of their queues has it. That there are none is no error. */
export async function tellHolders(broker: Broker, exchange: string, notice: Notice, session: string): Promise<void> {
  try {
    await broker.publish({ exchange, routingKey: '', body: new Uint8Array(), headers: { notice, session } });
  } catch (error) {
    if (!(error instanceof UnroutableError)) throw error;
  }
}

/** Lapsed leases are looked for so often in a lease. */
const sweepsPerLease = 10;

export interface FollowOptions {
  readonly broker: Broker;
  readonly clock: Clock;
  /** A fanout exchange, made here: one for all holders of a system. */
  readonly exchange: string;
  /** Names this instance among its like, so that it has a queue of its own; new at every start. */
  readonly instance: string;
  readonly leaseMs: number;
  /** Tells the keeper that a session has lapsed here; resolves when its queue has the message. */
  readonly tellKeeper: (session: string) => Promise<void>;
  /** The queue is gone, and notices with it: the role has to end, or it would let go of what lasts. */
  readonly onLost: (error: unknown) => void;
}

/** The holder's side: hears of renewals and ends, and lets what nobody renews lapse. `leases` is asked each time. Returns how to stop. */
export async function followLeases(
  { broker, clock, exchange, instance, leaseMs, tellKeeper, onLost }: FollowOptions,
  leases: () => Iterable<Pick<Leases<unknown>, 'renew' | 'end' | 'endLapsed'>>,
): Promise<() => Promise<void>> {
  const queue = `${exchange}.${instance}`;
  await broker.declare({
    exchanges: [{ name: exchange, type: 'fanout' }],
    queues: [{ name: queue, type: 'classic', exclusive: true }],
    bindings: [{ exchange, queue }],
  });
  let notedMs = -Infinity;
  const onNotice = async ({ headers: { notice, session } }: Delivery): Promise<void> => {
    if (notice === 'sweep') {
      await Promise.all([...leases()].map((each) => each.endLapsed(tellKeeper)));
      notedMs = -Infinity;
      return;
    }
    for (const each of leases()) {
      if (notice === 'renew') each.renew(String(session));
      if (notice === 'end') each.end(String(session));
    }
  };
  const consumer = await broker.consume(queue, onNotice, { prefetch: 100 });
  consumer.closed.catch(onLost);
  const sweep = (): void => {
    // One is under way, or was lost with the queue.
    if (clock.nowMs() - notedMs < leaseMs) return;
    notedMs = clock.nowMs();
    const note = { routingKey: queue, body: new Uint8Array(), headers: { notice: 'sweep' } };
    broker.publish(note).catch(() => (notedMs = -Infinity));
  };
  const stopSweeping = clock.every(leaseMs / sweepsPerLease, sweep);
  return async () => {
    stopSweeping();
    await consumer.stop();
  };
}
