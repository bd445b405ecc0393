/** A subscription that outlives the connections that carry it. */
import { BackOff } from '@lab/process/time';
import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib';
import { QueueLockedError } from '../errors.ts';
import type { Consumer } from '../port.ts';
import { majorOf } from './declare.ts';
import { Intake, type IntakeOptions } from './intake.ts';
import { isGone, isHeldTooLong, refusal } from './reply.ts';

export interface ConsumerOptions extends Omit<IntakeOptions, 'owed'> {
  exclusive: boolean;
  /** The queue belongs to this connection, so nobody else can consume it: no lock is needed. */
  own: boolean;
  random: () => number;
  /** How long a lost seat is tried for before it counts as taken: until the broker has noticed that this process' own old connection is dead. */
  reclaimMs: number;
  onEnd(consumer: RabbitmqConsumer): void;
}

/** The queue that stands for the right to consume another one: see `RabbitmqConsumer`. */
export const lockOf = (queue: string): string => `${queue}.lock`;
/** A lock that nobody has held for an hour is forgotten. */
const lockExpiresMs = 60 * 60 * 1000;

interface Attachment {
  readonly connection: ChannelModel;
  readonly channel: Channel;
  readonly intake: Intake;
  consumerTag: string;
}

/**
 * Quorum queues accept an exclusive consumer but let others consume beside it (RabbitMQ 3.10 and later alike). Classic queues keep to it. So each
 * consumer first consumes the queue's lock, a classic queue without messages: alone if it is exclusive, together with
 * the others if not. Lock and deliveries share one channel, and are lost together.
 */
export class RabbitmqConsumer implements Consumer {
  readonly closed: Promise<void>;
  readonly #options: ConsumerOptions;
  readonly #owed = new Map<string, unknown>();
  readonly #end = Promise.withResolvers<void>();
  readonly #backOff: BackOff;
  #attachment: Attachment | undefined;
  #connection: ChannelModel | undefined;
  #stopped = false;

  constructor(options: ConsumerOptions) {
    this.#options = options;
    this.#backOff = new BackOff({ random: options.random });
    this.closed = this.#end.promise;
    // Whoever does not look at `closed` does not want to die of it.
    this.closed.catch(() => {});
  }

  /** Begins to consume; rejects with the port's error. */
  async attach(connection: ChannelModel): Promise<void> {
    this.#connection = connection;
    const { queue, prefetch } = this.#options;
    const channel = await connection.createChannel();
    let failure: unknown;
    channel.on('error', (error) => (failure = error));
    const intake = new Intake(channel, { ...this.#options, owed: this.#owed });
    const attachment = { connection, channel, intake, consumerTag: '' };
    channel.on('close', () => this.#onChannelClosed(attachment, failure));
    try {
      await this.#lock(attachment);
      await channel.prefetch(prefetch);
      this.#attachment = attachment;
      const onMessage = (message: ConsumeMessage | null) =>
        message === null ? this.#onCancelled(attachment) : intake.take(message);
      ({ consumerTag: attachment.consumerTag } = await channel.consume(queue, onMessage));
    } catch (error) {
      if (this.#attachment === attachment) this.#attachment = undefined;
      intake.abandon();
      channel.close().catch(() => {});
      throw refusal(`consume "${queue}"`, queue, error);
    }
    if (this.#stopped) await channel.close();
  }

  async #lock(attachment: Attachment): Promise<void> {
    const { queue, exclusive, own } = this.#options;
    if (own) return;
    const lock = lockOf(queue);
    // In a cluster a durable one is out of reach for as long as its node is dead; a transient one is made anew on another node. 4.3 has no transient
    // queues but exclusive ones.
    await attachment.channel.assertQueue(lock, {
      durable: majorOf(attachment.connection) >= 4,
      expires: lockExpiresMs,
      arguments: { 'x-queue-type': 'classic' },
    });
    await attachment.channel.consume(lock, () => this.#onCancelled(attachment), { exclusive });
  }

  /** Looks whether the queue is still there, as it may have been removed while there was no connection. */
  async loseIfGone(connection: ChannelModel): Promise<void> {
    const { queue, own } = this.#options;
    if (own) return;
    const channel = await connection.createChannel();
    channel.on('error', () => {});
    try {
      await channel.checkQueue(queue);
    } catch (error) {
      // Anything else is found out by whoever consumes.
      if (isGone(error)) this.lose(refusal(`consume "${queue}"`, queue, error));
    } finally {
      channel.close().catch(() => {});
    }
  }

  /** Consumes on a new connection, however often it takes; `closed` tells if it is lost for good. */
  resume(connection: ChannelModel): void {
    this.#connection = connection;
    this.#retry(connection, performance.now() + this.#options.reclaimMs);
  }

  #retry(connection: ChannelModel, reclaimUntilMs: number): void {
    if (this.#stopped || this.#connection !== connection) return;
    this.attach(connection).then(
      () => this.#backOff.reset(),
      (error: unknown) => {
        if (this.#connection !== connection) return;
        const taken = error instanceof QueueLockedError && performance.now() > reclaimUntilMs;
        if (taken || (error instanceof Error && isGone(error.cause))) return this.lose(error);
        setTimeout(() => this.#retry(connection, reclaimUntilMs), this.#backOff.nextMs()).unref();
      },
    );
  }

  /** The broker ended the subscription, as it does when the queue is removed. */
  #onCancelled(attachment: Attachment): void {
    attachment.intake.abandon();
    attachment.channel.close().catch(() => {});
  }

  #onChannelClosed(attachment: Attachment, failure: unknown): void {
    attachment.intake.abandon();
    if (this.#attachment !== attachment) return;
    this.#attachment = undefined;
    const { queue, log } = this.#options;
    if (this.#stopped || this.#connection !== attachment.connection) return;
    const why = isHeldTooLong(failure)
      ? 'a delivery was held for longer than the consumer_timeout of RabbitMQ: acknowledge sooner, or set it to more; all that was held comes again'
      : 'a consumer lost its channel: consuming again';
    log.warn({ queue, err: failure }, why);
    const { connection } = attachment;
    setTimeout(() => this.#retry(connection, performance.now() + this.#options.reclaimMs), this.#backOff.nextMs()).unref();
  }

  /** For good. */
  lose(error: Error): void {
    if (this.#stopped) return;
    this.#stopped = true;
    if (this.#attachment !== undefined) this.#onCancelled(this.#attachment);
    this.#attachment = undefined;
    this.#options.log.error({ queue: this.#options.queue, err: error }, 'consumer lost');
    this.#end.reject(error);
    this.#options.onEnd(this);
  }

  async stop({ drainMs = 0 } = {}): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    const attachment = this.#attachment;
    this.#attachment = undefined;
    if (attachment !== undefined) await this.#detach(attachment, drainMs);
    this.#end.resolve();
    this.#options.onEnd(this);
  }

  async #detach({ channel, intake, consumerTag }: Attachment, drainMs: number): Promise<void> {
    intake.pause();
    // Whatever goes wrong here means that the channel is gone, and its deliveries with it.
    await channel.cancel(consumerTag).catch(() => {});
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, drainMs);
    await Promise.race([intake.drained(), promise]);
    clearTimeout(timer);
    intake.finish();
    await channel.close().catch(() => {});
  }
}
