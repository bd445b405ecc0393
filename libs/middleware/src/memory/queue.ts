/**
 * A queue with what smqp's lacks: single active consumer, exclusive consumers, delivery counts and a delivery limit.
 *
 * Messages are held here rather than in smqp's queue, because that one looks for a message by walking over all that are unacknowledged: at the
 * 60,000 that a late-acknowledging consumer holds, each further publish and each ack would walk over 60,000.
 */
import { Fifo } from '@lab/process/fifo';
import type { Clock } from '@lab/process/time';
import { QueueLockedError, TopologyError } from '../errors.ts';
import { deathHeaders, judge, originOf, type Origin, type Verdict } from '../failures.ts';
import type { ConsumeOptions, Handler, Headers, Queue } from '../port.ts';

/** A message as the broker keeps it; shared by all queues that it was routed to. */
export interface Message {
  readonly exchange: string;
  readonly routingKey: string;
  readonly headers: Headers | undefined;
  readonly body: Buffer;
}

/** One message in one queue. */
interface Entry {
  readonly message: Message;
  readonly order: number;
  /** How often it came back. */
  returns: number;
}

/** What a queue needs from the server that it belongs to. */
export interface QueueHost {
  /** The queue may have something to deliver. */
  wake(queue: MemoryQueue): void;
  /** Bytes that this queue took in (positive) or let go (negative). */
  account(bytes: number): void;
  /** Puts a message into a queue; false where the queue does not exist. */
  put(queue: string, message: Message): boolean;
  readonly clock: Pick<Clock, 'after'>;
}

/** Before a message is tried again whose dead letter had nowhere to go. */
const nowhereMs = 1_000;

/** What a message costs beside its body: objects and headers, so that empty messages are not free. */
const messageOverheadBytes = 256;
const sizeOf = (message: Message): number => message.body.length + messageOverheadBytes;

export class MemoryQueue {
  readonly options: Readonly<Queue>;
  /** The connection that an exclusive queue belongs to. */
  readonly owner: object | undefined;
  readonly #host: QueueHost;
  /** Messages that were not acknowledged. */
  depth = 0;
  readonly #ready = new Fifo<Entry>();
  /** What came back goes out first, as in a quorum queue. */
  readonly #returned = new Fifo<Entry>();
  #consumers: MemoryConsumer[] = [];
  #turn = 0;
  #removed = false;
  #order = 0;

  constructor(options: Readonly<Queue>, owner: object | undefined, host: QueueHost) {
    this.options = options;
    this.owner = owner;
    this.#host = host;
  }

  get counts(): boolean {
    return this.options.type !== 'classic';
  }

  push(message: Message): void {
    this.depth++;
    this.#host.account(sizeOf(message));
    this.#ready.push({ message, order: this.#order++, returns: 0 });
    this.#host.wake(this);
  }

  add(connection: object, handler: Handler, options: ConsumeOptions): MemoryConsumer {
    const locked = this.#consumers.length > 0 && (options.exclusive === true || this.#consumers[0]?.options.exclusive === true);
    if (locked || (this.owner !== undefined && this.owner !== connection)) throw new QueueLockedError(this.options.name);
    const consumer = new MemoryConsumer(this, connection, handler, options);
    this.#consumers.push(consumer);
    this.#host.wake(this);
    return consumer;
  }

  remove(consumer: MemoryConsumer): void {
    this.#consumers = this.#consumers.filter((other) => other !== consumer);
    this.#host.wake(this);
  }

  /** The queue is gone: so is what it holds, and its consumers. */
  destroy(why = new TopologyError(`queue "${this.options.name}" was removed`)): void {
    this.#removed = true;
    for (const consumer of this.#consumers) consumer.lose(why);
    for (const entry of [...this.#ready.drain(), ...this.#returned.drain()]) this.#release(entry);
  }

  /** Hands one message to one consumer; false when there is no message or nobody may have it. */
  deliverOne(): boolean {
    const waiting = this.#returned.length > 0 ? this.#returned : this.#ready;
    if (waiting.length === 0) return false;
    const consumer = this.#nextConsumer();
    if (consumer === undefined) return false;
    const entry = waiting.shift();
    if (entry !== undefined) consumer.take(entry);
    return true;
  }

  #nextConsumer(): MemoryConsumer | undefined {
    const count = this.#consumers.length;
    if (this.options.singleActiveConsumer) return this.#consumers[0]?.hasRoom ? this.#consumers[0] : undefined;
    for (let step = 0; step < count; step++) {
      const consumer = this.#consumers[this.#turn++ % count];
      if (consumer?.hasRoom) return consumer;
    }
    return undefined;
  }

  /** A consumer is done with an entry. */
  settle(entry: Entry, verdict: Verdict | 'acknowledge'): void {
    if (verdict === 'return') this.giveBack([entry]);
    else if (
      verdict === 'acknowledge' ||
      this.#host.put(verdict.queue, { ...entry.message, headers: verdict.headers, routingKey: verdict.queue })
    ) {
      this.#release(entry);
    } else this.#host.clock.after(nowhereMs, () => this.giveBack([entry]));
    this.#host.wake(this);
  }

  /** Puts entries back in front, in their order; what came back too often goes to the dead letters. */
  giveBack(entries: readonly Entry[]): void {
    const { deliveryLimit, deadLetterQueue } = this.options;
    if (this.#removed) return entries.forEach((entry) => this.#release(entry));
    for (const entry of entries.toSorted((a, b) => a.order - b.order)) {
      entry.returns++;
      if (deliveryLimit === undefined || entry.returns <= deliveryLimit) this.#returned.push(entry);
      else this.#giveUp(entry, deadLetterQueue);
    }
    this.#host.wake(this);
  }

  #giveUp(entry: Entry, deadLetterQueue: string | undefined): void {
    if (this.#removed) return this.#release(entry);
    const { exchange, routingKey, headers, body } = entry.message;
    if (deadLetterQueue !== undefined) {
      const origin = originOf(exchange, routingKey, headers);
      const letter = {
        exchange: '',
        routingKey: deadLetterQueue,
        headers: deathHeaders(origin, this.options.name, 'delivery_limit'),
        body,
      };
      if (!this.#host.put(deadLetterQueue, letter))
        return void this.#host.clock.after(nowhereMs, () => this.#giveUp(entry, deadLetterQueue));
    }
    this.#release(entry);
  }

  #release(entry: Entry): void {
    this.depth--;
    this.#host.account(-sizeOf(entry.message));
  }
}

/** One subscription to a queue. */
export class MemoryConsumer {
  readonly queue: MemoryQueue;
  readonly connection: object;
  readonly options: ConsumeOptions;
  readonly #handler: Handler;
  /** In the order of their delivery. */
  readonly #unsettled = new Set<Entry>();
  #open = true;
  #drained: (() => void) | undefined;
  readonly #end = Promise.withResolvers<void>();

  constructor(queue: MemoryQueue, connection: object, handler: Handler, options: ConsumeOptions) {
    this.queue = queue;
    this.connection = connection;
    this.options = options;
    this.#handler = handler;
  }

  get hasRoom(): boolean {
    return this.#open && this.#unsettled.size < this.options.prefetch;
  }

  take(entry: Entry): void {
    this.#unsettled.add(entry);
    const { exchange, routingKey, headers, body } = entry.message;
    const origin = originOf(exchange, routingKey, headers);
    const deliveryCount = this.queue.counts ? origin.returns + entry.returns : undefined;
    const redelivered = origin.failures + entry.returns > 0;
    const { name } = this.queue.options;
    const delivery = {
      queue: name,
      exchange: origin.exchange,
      routingKey: origin.routingKey,
      body,
      headers: origin.headers,
      redelivered,
      deliveryCount,
    };
    try {
      const outcome = this.#handler(delivery);
      if (outcome === undefined) this.#settle(entry, 'acknowledge');
      else this.#settleLater(outcome, entry, origin);
    } catch (error) {
      this.#fail(error, entry, origin);
    }
  }

  #settleLater(outcome: Promise<void>, entry: Entry, origin: Origin): void {
    outcome.then(
      () => this.#settle(entry, 'acknowledge'),
      (error: unknown) => this.#fail(error, entry, origin),
    );
  }

  #fail(error: unknown, entry: Entry, origin: Origin): void {
    const { name, deadLetterQueue } = this.queue.options;
    const deliveryCount = origin.returns + entry.returns;
    this.#settle(
      entry,
      judge({ error, origin, queue: name, deliveryCount, failureLimit: this.options.failureLimit, deadLetterQueue }),
    );
  }

  #settle(entry: Entry, verdict: Verdict | 'acknowledge'): void {
    // What is no longer here went back to the queue: its outcome comes too late.
    if (!this.#unsettled.delete(entry)) return;
    this.queue.settle(entry, verdict);
    if (this.#unsettled.size === 0) this.#drained?.();
  }

  /** Resolves when the consumer has left, rejects when it is lost for good. */
  get left(): Promise<void> {
    return this.#end.promise;
  }

  /** Takes no more deliveries; resolves when all have settled. */
  drain(): Promise<void> {
    this.#open = false;
    if (this.#unsettled.size === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#drained = resolve));
  }

  /** Leaves the queue, and gives back what has not settled. */
  leave(): void {
    this.#detach();
    this.#end.resolve();
  }

  lose(error: Error): void {
    this.#detach();
    this.#end.reject(error);
  }

  #detach(): void {
    this.#open = false;
    this.queue.remove(this);
    const entries = [...this.#unsettled];
    this.#unsettled.clear();
    this.queue.giveBack(entries);
    this.#drained?.();
  }
}
