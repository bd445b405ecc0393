/**
 * Publishes until the broker confirms. What is not confirmed is published again: after a reconnect, after a nack, and when its confirm is lost (as it may
 * be when a stream's leader changes). So a message may arrive twice, and never not at all. A confirm that is late is not lost: where one stays out, the oldest
 * message goes out once more by itself, as a probe, and only when that is confirmed and others before it are not the rest follows: a broker that is slow has
 * one message more to do, and not all of them again.
 */
import type { PlainLogger } from '@lab/process';
import { BackOff } from '@lab/process/time';
import { IllegalOperationError, type ChannelModel, type ConfirmChannel, type Options } from 'amqplib';
import { Fifo } from '@lab/process/fifo';
import { BrokerError, UnavailableError, UnroutableError } from '../errors.ts';
import type { Headers } from '../port.ts';
import { refusedExchange } from './reply.ts';

export interface PublisherOptions {
  confirmTimeoutMs: number;
  unconfirmedBytesMax: number;
  random: () => number;
  log: PlainLogger;
  /** Resolves when queues that this process owns are declared again, so that nothing is published past them, and it is known which broker this is. */
  ready(connection: ChannelModel): Promise<void>;
}

interface Pending {
  readonly sequence: number;
  readonly exchange: string;
  readonly routingKey: string;
  readonly body: Buffer;
  readonly properties: Options.Publish;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  /** The channel that it went out on last. */
  channel: ConfirmChannel | undefined;
  sentAtMs: number;
  /** How many channels died of a protocol error while it was on its way. */
  refusals: number;
}

/** The oldest message, once more, on a channel of its own. */
interface Probe {
  readonly pending: Pending;
  channel: ConfirmChannel | undefined;
  isConfirmed: boolean;
}

/** RabbitMQ's default `max_message_size`. A longer message would end the channel, and everybody else's messages with it. */
const bodyBytesMax = 128 * 1024 * 1024;
/** What a message costs beside its body, so that empty messages are limited too. */
const messageOverheadBytes = 512;
/** A message that was there when so many channels were closed for a protocol error is likely their cause. */
const refusalsMax = 5;

const sizeOf = (body: Buffer): number => body.length + messageOverheadBytes;

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #backOff: BackOff;
  /** In the order of `publish`. */
  readonly #pending = new Set<Pending>();
  /** Publishes that wait for room, in their order. */
  readonly #waiting = new Fifo<Pending>();
  /** Sequence numbers of messages that came back, until their confirm. */
  readonly #returned = new Set<number>();
  /** Tells the messages of this process from all others: RabbitMQ's and the consumers' only handle on a message. */
  readonly #idPrefix: string;
  readonly #watch: NodeJS.Timeout;
  #channel: ConfirmChannel | undefined;
  #probe: Probe | undefined;
  #connection: ChannelModel | undefined;
  #blocked = false;
  #bytes = 0;
  #sequence = 0;
  /** A channel that is about to be left. */
  #refusing: ConfirmChannel | undefined;
  #onIdle: (() => void) | undefined;
  #closed = false;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#backOff = new BackOff({ random: options.random });
    this.#idPrefix = `${crypto.randomUUID().slice(0, 8)}-`;
    this.#watch = setInterval(() => this.#checkConfirms(), options.confirmTimeoutMs / 4).unref();
  }

  /** Resolves on the broker's confirm. */
  publish(exchange: string, routingKey: string, bytes: Uint8Array, headers: Headers | undefined): Promise<void> {
    const body = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (body.length > bodyBytesMax) {
      const what = `publish: a body of ${body.length} bytes is over RabbitMQ's limit of ${bodyBytesMax}: split it`;
      return Promise.reject(new BrokerError(what, { definite: true }));
    }
    if (this.#closed) return Promise.reject(closedError());
    return new Promise((resolve, reject) => {
      const sequence = this.#sequence++;
      const properties: Options.Publish = {
        persistent: true,
        mandatory: true,
        messageId: this.#idPrefix + sequence.toString(36),
      };
      if (headers !== undefined) properties.headers = headers;
      const fate = { channel: undefined, sentAtMs: 0, refusals: 0 };
      this.#waiting.push({ sequence, exchange, routingKey, body, properties, resolve, reject, ...fate });
      this.#admit();
    });
  }

  /** Sends what waits, in its order, as long as there is room. */
  #admit(): void {
    while (this.#bytes <= this.#options.unconfirmedBytesMax) {
      const pending = this.#waiting.shift();
      if (pending === undefined) return;
      this.#bytes += sizeOf(pending.body);
      this.#pending.add(pending);
      if (this.#channel !== undefined) this.#send(pending, this.#channel);
    }
  }

  #send(pending: Pending, channel: ConfirmChannel): void {
    pending.channel = channel;
    pending.sentAtMs = performance.now();
    const { exchange, routingKey, body, properties } = pending;
    try {
      channel.publish(exchange, routingKey, body, properties, (error: unknown) => this.#onConfirm(pending, channel, error));
    } catch (error) {
      // A channel that closes refuses to send; the next one takes care of it. Anything else is the message's own fault.
      if (!(error instanceof IllegalOperationError))
        this.#fail(pending, new BrokerError(`publish: ${String(error)}`, { definite: true, cause: error }));
    }
  }

  #onConfirm(pending: Pending, channel: ConfirmChannel, error: unknown): void {
    // What was sent again on another channel is confirmed there.
    if (pending.channel !== channel) return;
    if (error !== null) this.#moveLater(channel);
    else if (this.#returned.size > 0 && this.#returned.delete(pending.sequence)) this.#fail(pending, unroutable(pending));
    else if (this.#finish(pending)) pending.resolve();
  }

  #fail(pending: Pending, error: Error): void {
    if (this.#finish(pending)) pending.reject(error);
  }

  #finish(pending: Pending): boolean {
    if (!this.#pending.delete(pending)) return false;
    this.#bytes -= sizeOf(pending.body);
    this.#admit();
    if (this.#pending.size === 0) {
      this.#backOff.reset();
      this.#onIdle?.();
    }
    return true;
  }

  /** Opens a channel on a new connection and publishes again what was not confirmed. */
  async attach(connection: ChannelModel): Promise<void> {
    this.#connection = connection;
    this.#blocked = false;
    connection.on('blocked', (reason) => {
      this.#blocked = true;
      this.#options.log.warn({ reason }, 'RabbitMQ has no room: publishing waits until its consumers caught up');
    });
    connection.on('unblocked', () => (this.#blocked = false));
    await this.#options.ready(connection);
    await this.#openChannel(connection);
  }

  async #openChannel(connection: ChannelModel): Promise<void> {
    this.#use(await this.#newChannel(connection));
  }

  async #newChannel(connection: ChannelModel): Promise<ConfirmChannel> {
    const channel = await connection.createConfirmChannel();
    channel.on('error', (error) => this.#onProtocolError(channel, error));
    channel.on('close', () => this.#onChannelClosed(channel, connection));
    channel.on('return', ({ properties }) => this.#onReturn(String(properties.messageId)));
    return channel;
  }

  /** All that is not confirmed goes out on it. */
  #use(channel: ConfirmChannel): void {
    this.#endProbe(channel);
    this.#channel = channel;
    this.#returned.clear();
    for (const pending of this.#pending) this.#send(pending, channel);
  }

  #onReturn(id: string): void {
    if (id.startsWith(this.#idPrefix)) this.#returned.add(Number.parseInt(id.slice(this.#idPrefix.length), 36));
  }

  /** A refused exchange closes the channel for all; only its own messages fail of it. */
  #onProtocolError(channel: ConfirmChannel, error: Error): void {
    if (this.#channel !== channel) return;
    const exchange = refusedExchange(error);
    for (const pending of [...this.#pending]) {
      if (exchange !== undefined && pending.exchange === exchange) this.#fail(pending, unroutable(pending));
      else if (exchange === undefined && ++pending.refusals > refusalsMax) {
        this.#fail(
          pending,
          new UnavailableError(`publish: RabbitMQ closed ${refusalsMax} channels on it: ${error.message}`, error),
        );
      }
    }
  }

  #onChannelClosed(channel: ConfirmChannel, connection: ChannelModel): void {
    if (this.#probe?.channel === channel) this.#probe = undefined;
    if (this.#channel !== channel) return;
    this.#channel = undefined;
    this.#reopen(connection, 0);
  }

  #reopen(connection: ChannelModel, delayMs: number): void {
    setTimeout(() => {
      if (this.#closed || this.#connection !== connection || this.#channel !== undefined) return;
      this.#openChannel(connection).then(
        () => this.#backOff.reset(),
        // On a lost connection the next one attaches; the retry then finds itself out of date.
        () => this.#reopen(connection, this.#backOff.nextMs()),
      );
    }, delayMs).unref();
  }

  /**
   * The broker did not take it, so all that is not confirmed goes out on another channel: to one that was opened when the leader of a queue had just died,
   * RabbitMQ 3.10 says no for as long as that one is dead. (When its channel was closed instead, the next one has taken care of it first.)
   */
  #moveLater(channel: ConfirmChannel): void {
    if (this.#refusing === channel) return;
    this.#refusing = channel;
    setTimeout(() => {
      if (this.#channel !== channel || this.#connection === undefined) return;
      this.#move(channel, this.#connection).catch(() => {
        this.#refusing = undefined;
        if (this.#channel === channel) this.#moveLater(channel);
      });
    }, this.#backOff.nextMs()).unref();
  }

  async #move(from: ConfirmChannel, connection: ChannelModel): Promise<void> {
    const channel = await this.#newChannel(connection);
    const isFirst = this.#channel === from;
    if (isFirst) this.#use(channel);
    await (isFirst ? from : channel).close();
  }

  #checkConfirms(): void {
    const [oldest] = this.#pending;
    // A blocked broker has said why it does not confirm; asking again would not help it.
    if (oldest === undefined || this.#channel === undefined || this.#connection === undefined || this.#blocked) return;
    const { confirmTimeoutMs, log } = this.#options;
    if (performance.now() - oldest.sentAtMs < confirmTimeoutMs) return this.#endProbe();
    if (this.#probe === undefined) {
      log.warn({ pending: this.#pending.size }, `no confirm for ${confirmTimeoutMs} ms: asking with the oldest message again`);
      this.#probe = { pending: oldest, channel: undefined, isConfirmed: false };
      this.#ask(this.#probe, this.#connection).catch(() => this.#endProbe());
    } else if (this.#probe.isConfirmed && this.#probe.channel !== undefined) {
      log.warn({ pending: this.#pending.size }, 'confirms are lost: publishing again on a new channel');
      const lost = this.#channel;
      this.#use(this.#probe.channel);
      lost.close().catch(() => {});
    }
  }

  /** Whichever channel confirms it first. */
  async #ask(probe: Probe, connection: ChannelModel): Promise<void> {
    const channel = await this.#newChannel(connection);
    const { pending } = probe;
    if (this.#probe !== probe) return void channel.close().catch(() => {});
    probe.channel = channel;
    const { exchange, routingKey, body, properties } = pending;
    channel.publish(exchange, routingKey, body, properties, (error: unknown) => {
      if (this.#probe !== probe) return;
      // The broker did not take it: the next look asks again.
      if (error !== null) return this.#endProbe();
      probe.isConfirmed = true;
      if (pending.channel !== undefined) this.#onConfirm(pending, pending.channel, null);
    });
  }

  /** Queues that these were for are gone; what some of them led to may have come before. */
  lose(cause: Error): void {
    const error = new UnavailableError(`publish: ${cause.message}`, cause);
    for (const { reject } of this.#waiting.drain()) reject(error);
    for (const pending of [...this.#pending]) this.#fail(pending, error);
  }

  #endProbe(kept?: ConfirmChannel): void {
    const channel = this.#probe?.channel;
    this.#probe = undefined;
    if (channel !== undefined && channel !== kept) channel.close().catch(() => {});
  }

  /** Takes no more, and waits at most so long for the confirms of what is under way; what is left fails with `UnavailableError`. */
  async close(timeoutMs: number): Promise<void> {
    this.#closed = true;
    for (const { reject } of this.#waiting.drain()) reject(closedError());
    if (this.#pending.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onIdle = resolve;
      const timer = setTimeout(resolve, timeoutMs);
      await promise;
      clearTimeout(timer);
    }
    clearInterval(this.#watch);
    if (this.#pending.size > 0)
      this.#options.log.warn(
        { unconfirmed: this.#pending.size, timeoutMs },
        'closed, with messages that RabbitMQ may or may not have',
      );
    for (const pending of [...this.#pending]) this.#fail(pending, closedError());
  }
}

const unroutable = ({ exchange, routingKey }: Pending): UnroutableError => new UnroutableError(exchange, routingKey);
const closedError = (): UnavailableError => new UnavailableError('publish: this broker is closed');
