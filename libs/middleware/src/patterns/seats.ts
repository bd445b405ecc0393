/**
 * Replicas divide some queues among themselves. To hold the *seat* of a queue is to be its only consumer, so a replica may keep the
 * state of what its seats have delivered (`Held`), and whoever takes a seat next makes that state again.
 *
 * A queue without a holder is taken within a second by a replica that has none, within five by one that has a seat already. Who has several gives
 * one up when a replica without a seat asks. All of that may happen in the middle of the work.
 *
 * Limits: more replicas than queues stand by. Seats are not balanced beyond "everybody has one". A holder that hangs keeps its seats until the
 * broker gives its connection up, two heartbeats later.
 */
import { QueueLockedError, TopologyError } from '../errors.ts';
import type { ConsumeOptions, Consumer, Handler } from '../port.ts';
import type { PatternParts } from './alone.ts';

/** How often a replica without a seat looks for one. */
const seatlessMs = 1_000;
/** How often one that has a seat looks for another that is free: long enough for a restarted replica to take its place again. */
const seatedMs = 5_000;

export interface SeatsOptions extends PatternParts, Omit<ConsumeOptions, 'exclusive'> {
  /** The exchange on which replicas without a seat ask for one; made here. Replicas of one kind have the same. */
  exchange: string;
  /** Names this replica among its like; new at every start. */
  instance: string;
  /** One seat each, in the order in which they are tried. Declared by the caller. */
  queues: readonly string[];
  /** Called before a seat is tried: gives the handler of its deliveries, with fresh state. */
  sit: (queue: string) => Handler;
  /** The seat was given up or lost. What it held goes to another holder; what its handlers still do counts no more. */
  left: (queue: string) => void;
  /** One of the queues is gone: the role has to end, and to declare it when it starts again. */
  onLost: (error: unknown) => void;
}

export class Seats {
  readonly #options: SeatsOptions;
  readonly #held = new Map<string, Consumer>();
  #lookedMs = 0;
  /** While there is no broker it takes as long as the outage. */
  #looking: Promise<void> | undefined;
  #stops: (() => void | Promise<void>)[] = [];
  #stopped = false;

  constructor(options: SeatsOptions) {
    this.#options = options;
  }

  /** Looks for a first seat; resolves whether there was one or not. */
  async start(): Promise<void> {
    const { broker, clock, exchange, instance, onLost } = this.#options;
    const queue = `${exchange}.${instance}`;
    await broker.declare({
      exchanges: [{ name: exchange, type: 'fanout' }],
      queues: [{ name: queue, type: 'classic', exclusive: true }],
      bindings: [{ exchange, queue }],
    });
    const consumer = await broker.consume(queue, () => this.#giveUpSpare(), { prefetch: 1 });
    consumer.closed.catch(onLost);
    this.#stops.push(() => consumer.stop());
    await this.#look();
    this.#stops.push(clock.every(seatlessMs, () => this.#lookWhenDue()));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const stop of this.#stops.reverse()) await stop();
    await this.#looking;
    await Promise.all([...this.#held.values()].map((consumer) => consumer.stop()));
  }

  /** The queues whose seats are held here. */
  get held(): readonly string[] {
    return [...this.#held.keys()];
  }

  #lookWhenDue(): void {
    const { clock, log, queues, onLost } = this.#options;
    if (this.#looking !== undefined) return;
    if (this.#held.size > 0 && clock.nowMs() - this.#lookedMs < seatedMs) return;
    if (this.#held.size === queues.length) return;
    this.#looking = this.#look()
      .catch((error: unknown) => {
        log.warn({ err: error }, 'looking for a seat failed');
        if (error instanceof TopologyError) onLost(error);
      })
      .finally(() => (this.#looking = undefined));
  }

  async #look(): Promise<void> {
    const { broker, clock, exchange, queues } = this.#options;
    this.#lookedMs = clock.nowMs();
    for (const queue of queues) {
      if (this.#stopped) return;
      if (!this.#held.has(queue) && (await this.#take(queue))) return;
    }
    if (this.#held.size === 0 && !this.#stopped) await broker.publish({ exchange, routingKey: '', body: new Uint8Array() });
  }

  async #take(queue: string): Promise<boolean> {
    const { broker, log, sit, left, onLost, prefetch, failureLimit } = this.#options;
    const options = { prefetch, exclusive: true, ...(failureLimit !== undefined && { failureLimit }) };
    try {
      const consumer = await broker.consume(queue, sit(queue), options);
      this.#held.set(queue, consumer);
      consumer.closed.catch((error: unknown) => {
        if (!this.#leave(queue, consumer)) return;
        log.warn({ queue, err: error }, 'lost a seat');
        if (error instanceof TopologyError) onLost(error);
      });
    } catch (error) {
      left(queue);
      if (error instanceof QueueLockedError) return false;
      throw error;
    }
    log.info({ queue }, 'took a seat');
    return true;
  }

  #leave(queue: string, consumer: Consumer): boolean {
    if (this.#held.get(queue) !== consumer) return false;
    this.#held.delete(queue);
    this.#options.left(queue);
    return true;
  }

  #giveUpSpare(): void {
    const { clock, log } = this.#options;
    const [queue, consumer] = [...this.#held].at(-1) ?? [];
    if (this.#held.size < 2 || queue === undefined || consumer === undefined) return;
    this.#leave(queue, consumer);
    this.#lookedMs = clock.nowMs();
    log.info({ queue }, 'gave up a seat');
    consumer.stop().catch((error: unknown) => log.warn({ queue, err: error }, 'giving up a seat failed'));
  }
}
