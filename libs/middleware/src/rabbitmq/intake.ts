/** The deliveries of one channel: each goes to the handler, and what becomes of it goes back to the broker. */
import type { PlainLogger } from '@lab/process';
import type { Channel, ConsumeMessage } from 'amqplib';
import { judge, originOf, type Origin } from '../failures.ts';
import type { Handler } from '../port.ts';
import { AckWindow, withTag } from './acks.ts';
import { ignoringClosed } from './reply.ts';
import { readHeaders } from './headers.ts';
import type { Publisher } from './publisher.ts';

export interface IntakeOptions {
  queue: string;
  prefetch: number;
  handler: Handler;
  failureLimit: number | undefined;
  deadLetterQueue: string | undefined;
  /** The queue counts how often its messages came back. */
  counts: boolean;
  publisher: Publisher;
  log: PlainLogger;
  /** Failures that could not be counted yet, by message id: see `Intake`. Shared by all channels of a consumer. */
  owed: Map<string, unknown>;
}

/** What is needed of an unsettled delivery to publish it again. */
interface Held {
  readonly origin: Origin;
  readonly deliveryCount: number;
  readonly messageId: string | undefined;
}

/**
 * Bodies of unsettled deliveries kept by one consumer, in bytes. A counted failure publishes the message again, so its body is kept while the handler
 * runs; but a consumer that acknowledges late holds far more deliveries than memory should hold bodies.
 */
const keptBytesMax = 16 * 1024 * 1024;
/** A body up to this size is copied to be kept: the received one is a slice that would keep a whole 64 KiB read alive. */
const copiedBytesMax = 16 * 1024;
/** As many as a consumer can have unsettled. */
const owedMax = 65_535;
/** Before a message is given back whose dead letter could not be published: it will come again at once. */
const giveBackDelayMs = 1_000;

/**
 * When a handler fails after its delivery's body was let go, the message is given back to its queue and the failure is owed: when the message comes
 * again to this consumer, the failure is counted then, without another try.
 */
export class Intake {
  readonly #options: IntakeOptions;
  readonly #acks: AckWindow;
  readonly #held = new Map<number, Held>();
  readonly #bodies = new Map<number, Buffer>();
  #keptBytes = 0;
  #open = true;

  constructor(channel: Channel, options: IntakeOptions) {
    this.#options = options;
    this.#acks = new AckWindow(options.prefetch, {
      ack: (tag, multiple) => this.#tell(() => channel.ack(withTag(tag), multiple)),
      giveBack: (tag, multiple) => this.#tell(() => channel.nack(withTag(tag), multiple, true)),
    });
  }

  /** A channel that closes refuses to send, and its deliveries go back without being told. */
  #tell(send: () => void): void {
    if (!ignoringClosed(send)) this.abandon();
  }

  /** Takes a delivery; after `pause` it stays with the broker, which gives it to somebody else when the channel closes. */
  take({ fields, properties, content }: ConsumeMessage): void {
    const { deliveryTag: tag } = fields;
    if (!this.#open) return;
    this.#acks.delivered(tag);
    const { queue, handler, counts, owed } = this.#options;
    const { headers, returns } = readHeaders(properties.headers);
    const origin = originOf(fields.exchange, fields.routingKey, headers);
    const deliveryCount = origin.returns + returns;
    const held: Held = {
      origin,
      deliveryCount,
      messageId: typeof properties.messageId === 'string' ? properties.messageId : undefined,
    };
    const redelivered = fields.redelivered || origin.failures > 0;
    if (redelivered && owed.size > 0 && this.#payOwed(tag, held, content)) return;
    const { exchange, routingKey, headers: visible } = origin;
    const delivery = {
      queue,
      exchange,
      routingKey,
      body: content,
      headers: visible,
      redelivered,
      deliveryCount: counts ? deliveryCount : undefined,
    };
    try {
      const outcome = handler(delivery);
      if (outcome === undefined) this.#acks.settle(tag);
      else this.#settleLater(outcome, tag, held, content);
    } catch (error) {
      this.#fail(tag, error, held, content);
    }
  }

  #payOwed(tag: number, held: Held, body: Buffer): boolean {
    const { owed } = this.#options;
    if (held.messageId === undefined || !owed.has(held.messageId)) return false;
    const error = owed.get(held.messageId);
    owed.delete(held.messageId);
    this.#fail(tag, error, held, body);
    return true;
  }

  #settleLater(outcome: Promise<void>, tag: number, held: Held, body: Buffer): void {
    if (this.#options.deadLetterQueue !== undefined) this.#keep(tag, held, body);
    this.#await(outcome, tag);
  }

  /** A method of its own, so that the closures, which may live long, keep nothing but the tag. */
  #await(outcome: Promise<void>, tag: number): void {
    outcome.then(
      () => {
        this.#letGo(tag);
        this.#acks.settle(tag);
      },
      (error: unknown) => {
        const held = this.#held.get(tag);
        const body = this.#letGo(tag);
        this.#fail(tag, error, held, body);
      },
    );
  }

  #keep(tag: number, held: Held, body: Buffer): void {
    this.#held.set(tag, held);
    this.#bodies.set(tag, body.length <= copiedBytesMax ? Buffer.from(body) : body);
    this.#keptBytes += body.length;
    for (const [oldest, { length }] of this.#bodies) {
      if (this.#keptBytes <= keptBytesMax) return;
      this.#bodies.delete(oldest);
      this.#keptBytes -= length;
    }
  }

  #letGo(tag: number): Buffer | undefined {
    this.#held.delete(tag);
    const body = this.#bodies.get(tag);
    if (body === undefined) return undefined;
    this.#bodies.delete(tag);
    this.#keptBytes -= body.length;
    return body;
  }

  #fail(tag: number, error: unknown, held: Held | undefined, body: Buffer | undefined): void {
    const { queue, failureLimit, deadLetterQueue, publisher, log } = this.#options;
    if (!this.#acks.isOpen(tag)) return;
    if (held === undefined) return this.#acks.giveBack(tag);
    const verdict = judge({
      error,
      origin: held.origin,
      queue,
      deliveryCount: held.deliveryCount,
      failureLimit,
      deadLetterQueue,
    });
    if (verdict === 'return') return this.#acks.giveBack(tag);
    if (body === undefined) return this.#owe(tag, error, held);
    log.warn({ queue, failures: held.origin.failures + 1, to: verdict.queue, err: error }, 'handler failed');
    publisher.publish('', verdict.queue, body, verdict.headers).then(
      () => this.#acks.settle(tag),
      (publishError: unknown) => {
        log.error(
          { queue, to: verdict.queue, err: publishError },
          'a failed message could not be published again: it goes back to its queue',
        );
        setTimeout(() => this.#acks.giveBack(tag), giveBackDelayMs).unref();
      },
    );
  }

  #owe(tag: number, error: unknown, { messageId }: Held): void {
    const { owed } = this.#options;
    if (messageId !== undefined) owed.set(messageId, error);
    const [oldest] = owed.keys();
    if (owed.size > owedMax && oldest !== undefined) owed.delete(oldest);
    this.#acks.giveBack(tag);
  }

  /** Hands out no more deliveries. */
  pause(): void {
    this.#open = false;
  }

  /** Resolves when every delivery has settled. */
  drained(): Promise<void> {
    return this.#acks.empty();
  }

  /** Acknowledges what has settled and gives the rest back. */
  finish(): void {
    this.#acks.finish();
    this.abandon();
  }

  /** The channel is gone: what has not settled is the broker's again. */
  abandon(): void {
    this.#open = false;
    this.#acks.abandon();
    this.#held.clear();
    this.#bodies.clear();
  }
}
