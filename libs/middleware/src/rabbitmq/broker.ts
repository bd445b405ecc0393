/** The port on RabbitMQ: one connection publishes, one consumes and declares. A broker that holds back publishers must not hold back acknowledgements. */
import { retry, systemClock } from '@lab/process/time';
import type { ChannelModel } from 'amqplib';
import { BrokerError, BrokerLostError, TopologyError, UnavailableError, UnroutableError } from '../errors.ts';
import { Loss } from '../loss.ts';
import type { Broker, ConsumeOptions, Consumer, Handler, LogEntry, Publication, Topology } from '../port.ts';
import { validateConsume, validateTopology } from '../validate.ts';
import { lockOf, RabbitmqConsumer } from './consumer.ts';
import { DeclaredTopology, declareTopology } from './declare.ts';
import { incarnationOf } from './incarnation.ts';
import { Link } from './link.ts';
import { LogReader } from './log-reader.ts';
import { normalizeOptions, type RabbitmqOptions } from './options.ts';
import { withOwnFrames } from './publish-frames.ts';
import { Publisher } from './publisher.ts';
import { refusal } from './reply.ts';

/**
 * Connects to RabbitMQ. Waits until it is there, and says so through `log`; after `connectTimeoutMs` fails with an `UnavailableError`.
 *
 * A connection that is lost comes back by itself, with what was declared on it, its consumers and its log readers.
 */
export async function connectRabbitmq(options: RabbitmqOptions): Promise<Broker> {
  const broker = new RabbitmqBroker(normalizeOptions(options));
  await broker.connect();
  return broker;
}

/** The same at once, for a role that has work which needs no broker: each of its calls waits for the connection, as after an outage. */
export function beginRabbitmq(options: RabbitmqOptions): Broker {
  const broker = new RabbitmqBroker(normalizeOptions(options));
  broker.begin();
  return broker;
}

class RabbitmqBroker implements Broker {
  readonly features = { durable: true, shared: true };
  readonly #options: Required<RabbitmqOptions>;
  readonly #publishing: Link;
  readonly #consuming: Link;
  readonly #publisher: Publisher;
  readonly #declared = new DeclaredTopology();
  readonly #consumers = new Set<RabbitmqConsumer>();
  readonly #readers = new Set<LogReader>();
  readonly #loss = new Loss();
  #incarnation: string | undefined;
  /** The connection that consumers and readers were last put on. */
  #carrier: ChannelModel | undefined;
  #closed = false;

  constructor(options: Required<RabbitmqOptions>) {
    this.#options = options;
    const { url, name, heartbeatSeconds, random, log, confirmTimeoutMs, unconfirmedBytesMax } = options;
    const shared = { url, heartbeatSeconds, random, log };
    this.#consuming = new Link({ ...shared, purpose: `${name}: consuming`, restore: (connection) => this.#restore(connection) });
    const ready = async (connection: ChannelModel): Promise<void> => {
      await this.#consuming.connected();
      // The other connection may not have noticed yet that it is gone.
      await this.#identify(connection);
    };
    this.#publisher = new Publisher({ confirmTimeoutMs, unconfirmedBytesMax, random, log, ready });
    this.#publishing = new Link({
      ...shared,
      purpose: `${name}: publishing`,
      restore: (connection) => this.#publisher.attach(withOwnFrames(connection)),
    });
  }

  begin(): void {
    this.#consuming.start();
    this.#publishing.start();
  }

  async connect(): Promise<void> {
    this.begin();
    try {
      await this.#consuming.connection(this.#options.connectTimeoutMs);
      await this.#publishing.connection(this.#options.connectTimeoutMs);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async incarnation(): Promise<string> {
    await this.#call('incarnation', () => Promise.resolve());
    return this.#incarnation!;
  }

  get lost(): Promise<never> {
    return this.#loss.lost;
  }

  /** Finds out whether it is the broker that it was. */
  async #identify(connection: ChannelModel): Promise<void> {
    const now = await incarnationOf(connection);
    const before = this.#incarnation;
    this.#incarnation = now;
    if (before === undefined || before === now) return;
    const error = new BrokerLostError(before, now);
    this.#options.log.error({ err: error }, 'RabbitMQ has lost everything');
    this.#declared.clear();
    for (const consumer of this.#consumers) consumer.lose(error);
    for (const reader of this.#readers) reader.end();
    this.#publisher.lose(error);
    this.#loss.happen(error);
  }

  async #restore(connection: ChannelModel): Promise<void> {
    await this.#identify(connection);
    // Before it is made anew, so that its consumer hears that what was in it is gone.
    for (const consumer of this.#consumers) await consumer.loseIfGone(connection);
    await this.#declared.restore(connection);
    this.#carrier = connection;
    for (const each of [...this.#consumers, ...this.#readers]) each.resume(connection);
  }

  /** From now on each new connection carries it; the first of them may have come while it was attached to another. */
  #adopt<Carried extends { resume(connection: ChannelModel): void }>(
    each: Carried,
    attached: ChannelModel,
    carried: Set<Carried>,
  ): void {
    carried.add(each);
    if (this.#carrier !== undefined && this.#carrier !== attached) each.resume(this.#carrier);
  }

  async declare(topology: Topology): Promise<void> {
    validateTopology(topology);
    await this.#call('declare', (connection) => declareTopology(connection, topology));
    this.#declared.add(topology);
  }

  publish({ exchange = '', routingKey, body, headers }: Publication): Promise<void> {
    return this.#publisher.publish(exchange, routingKey, body, headers);
  }

  async consume(queue: string, handler: Handler, options: ConsumeOptions): Promise<Consumer> {
    const { prefetch, exclusive = false, failureLimit } = options;
    const declared = this.#declared.queue(queue);
    const deadLetterQueue = declared?.deadLetterQueue;
    validateConsume(queue, options, deadLetterQueue);
    const { log, random, heartbeatSeconds } = this.#options;
    const consumer = new RabbitmqConsumer({
      ...{ queue, handler, prefetch, exclusive, failureLimit, deadLetterQueue, log, random },
      publisher: this.#publisher,
      counts: declared?.type !== 'classic',
      own: declared?.exclusive === true,
      // The broker gives a silent connection up after two heartbeats.
      reclaimMs: 2_000 * heartbeatSeconds + 1_000,
      onEnd: () => this.#consumers.delete(consumer),
    });
    const connection = await this.#call(`consume "${queue}"`, (connection) => consumer.attach(connection));
    this.#adopt(consumer, connection, this.#consumers);
    return consumer;
  }

  async append(log: string, body: Uint8Array): Promise<void> {
    try {
      await this.#publisher.publish('', log, body, undefined);
    } catch (error) {
      if (error instanceof UnroutableError) throw new TopologyError(`append: there is no log "${log}": declare it first`, error);
      throw error;
    }
  }

  async read(log: string, from: 'first' | 'next' | number): Promise<AsyncIterableIterator<LogEntry>> {
    const reader = new LogReader({ log, from, random: this.#options.random, onEnd: () => this.#readers.delete(reader) });
    const connection = await this.#call(`read "${log}"`, (connection) => reader.attach(connection));
    this.#adopt(reader, connection, this.#readers);
    return reader;
  }

  async remove(what: { queue: string } | { log: string }): Promise<void> {
    const names = 'log' in what ? [what.log] : [what.queue, lockOf(what.queue)];
    if ('queue' in what) this.#declared.forget(what.queue);
    await this.#call(`remove "${names[0]}"`, async (connection) => {
      const channel = await connection.createChannel();
      channel.on('error', () => {});
      try {
        for (const name of names) await channel.deleteQueue(name);
      } catch (error) {
        throw refusal(`remove "${names[0]}"`, names[0] ?? '', error);
      } finally {
        channel.close().catch(() => {});
      }
    });
  }

  /**
   * Runs a call on the consuming connection, again where it was lost meanwhile, for as long as calls wait for a connection. Returns that connection. What the
   * client library says of a connection that hung is not the port's: it rejects with an `UnavailableError` that names the call.
   */
  async #call(what: string, run: (connection: ChannelModel) => Promise<void>): Promise<ChannelModel> {
    const { connectTimeoutMs, random, log } = this.#options;
    const deadlineMs = systemClock.nowMs() + connectTimeoutMs;
    const attempt = async (): Promise<ChannelModel> => {
      if (this.#closed) throw new UnavailableError(`${what}: this broker is closed`);
      const connection = await this.#consuming.connection(Math.max(1, deadlineMs - systemClock.nowMs()));
      await run(connection);
      return connection;
    };
    try {
      return await retry(attempt, {
        ...{ clock: systemClock, withinMs: connectTimeoutMs, random },
        worthwhile: (error) => !this.#closed && !(error instanceof BrokerError && error.definite),
        onRetry: (error) => log.warn({ err: error }, `${what}: trying again`),
      });
    } catch (error) {
      if (error instanceof BrokerError) throw error;
      throw new UnavailableError(`${what}: ${(error as Error).message}`, error);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#consumers, ...this.#readers].map((each) => each.stop()));
    await this.#publisher.close(this.#options.closeTimeoutMs);
    await Promise.all([this.#consuming.close(), this.#publishing.close()]);
  }
}
