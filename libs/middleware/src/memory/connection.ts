import { TopologyError, UnavailableError, UnroutableError, type BrokerLostError } from '../errors.ts';
import { Loss } from '../loss.ts';
import type { Broker, ConsumeOptions, Consumer, Handler, LogEntry, Publication, Topology } from '../port.ts';
import { validateConsume } from '../validate.ts';
import type { MemoryLogReader } from './log.ts';
import type { MemoryConsumer } from './queue.ts';
import type { ServerState } from './server.ts';

/** One role's connection to a memory server. */
export class MemoryConnection implements Broker {
  readonly features = { durable: false, shared: false };
  readonly #server: ServerState;
  readonly #subscriptions = new Set<Subscription>();
  readonly #readers = new Set<MemoryLogReader>();
  /** The dead-letter queue of each queue that was declared here: what a client of a real broker can know. */
  readonly #deadLetterQueues = new Map<string, string | undefined>();
  readonly #loss = new Loss();
  #closed = false;

  constructor(server: ServerState) {
    this.#server = server;
    server.connections.add(this);
  }

  get lost(): Promise<never> {
    return this.#loss.lost;
  }

  async incarnation(): Promise<string> {
    this.#refuseIfClosed('incarnation');
    return this.#server.incarnation;
  }

  /** The server has lost its disk. */
  lose(error: BrokerLostError): void {
    this.#deadLetterQueues.clear();
    this.#loss.happen(error);
  }

  async declare(topology: Topology): Promise<void> {
    this.#refuseIfClosed('declare');
    this.#server.declare(topology, this);
    for (const { name, deadLetterQueue } of topology.queues ?? []) this.#deadLetterQueues.set(name, deadLetterQueue);
  }

  async publish({ exchange = '', routingKey, body, headers }: Publication): Promise<void> {
    this.#refuseIfClosed('publish');
    // Copied before the first await: the caller may use its bytes again as soon as it has the promise.
    const message = { exchange, routingKey, headers: headers && { ...headers }, body: Buffer.from(body) };
    while (this.#server.full) {
      await this.#server.roomy();
      this.#refuseIfClosed('publish');
    }
    if (!this.#server.route(message)) throw new UnroutableError(exchange, routingKey);
  }

  async consume(queue: string, handler: Handler, options: ConsumeOptions): Promise<Consumer> {
    this.#refuseIfClosed('consume');
    validateConsume(queue, options, this.#deadLetterQueues.get(queue));
    const found = this.#server.queue(queue);
    if (found === undefined) throw new TopologyError(`consume: there is no queue "${queue}": declare it first`);
    const consumer = found.add(this, handler, { ...options });
    const subscription = new Subscription(consumer, this.#server.clock, () => this.#subscriptions.delete(subscription));
    this.#subscriptions.add(subscription);
    return subscription;
  }

  async append(log: string, body: Uint8Array): Promise<void> {
    this.#refuseIfClosed('append');
    this.#log(log, 'append').append(Buffer.from(body));
  }

  async read(log: string, from: 'first' | 'next' | number): Promise<AsyncIterableIterator<LogEntry>> {
    this.#refuseIfClosed('read');
    const reader = this.#log(log, 'read').read(from, () => this.#readers.delete(reader));
    this.#readers.add(reader);
    return reader;
  }

  #log(name: string, call: string) {
    const log = this.#server.log(name);
    if (log === undefined) throw new TopologyError(`${call}: there is no log "${name}": declare it first`);
    return log;
  }

  async remove(what: { queue: string } | { log: string }): Promise<void> {
    this.#refuseIfClosed('remove');
    if ('log' in what) return this.#server.removeLog(what.log);
    this.#server.removeQueue(what.queue);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.stop()));
    this.#disconnect();
  }

  /** As if the process had died: nobody is told. */
  die(): void {
    for (const subscription of this.#subscriptions) subscription.consumer.leave();
    this.#disconnect();
  }

  #disconnect(): void {
    this.#closed = true;
    this.#server.connections.delete(this);
    this.#subscriptions.clear();
    for (const reader of this.#readers) reader.end();
    this.#server.removeQueuesOf(this);
    this.#server.unblock();
  }

  #refuseIfClosed(call: string): void {
    if (this.#closed) throw new UnavailableError(`${call}: this connection to the memory broker is closed`);
  }
}

class Subscription implements Consumer {
  readonly consumer: MemoryConsumer;
  readonly closed: Promise<void>;
  readonly #clock: ServerState['clock'];
  readonly #onStop: () => void;

  constructor(consumer: MemoryConsumer, clock: ServerState['clock'], onStop: () => void) {
    this.consumer = consumer;
    this.#clock = clock;
    this.#onStop = onStop;
    this.closed = consumer.left;
    // Whoever does not look at `closed` does not want to die of it.
    this.closed.catch(() => {});
  }

  async stop({ drainMs = 0 } = {}): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.#clock.after(drainMs, resolve);
    await Promise.race([this.consumer.drain(), promise]);
    cancel();
    this.consumer.leave();
    this.#onStop();
  }
}
