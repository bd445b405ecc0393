/**
 * A broker whose messages leave spans, by OpenTelemetry's conventions for messaging: `send` from the call to the confirm, `receive` when the handler is called, `settle` when it is done. A message
 * brings the context of its `send` along, in the header `traceparent`. What is held costs its context and its words meanwhile.
 */
import { contextOf, endSpan, kinds, readTraceparent, tracedCall, traceparentOf } from '@lab/tracing';
import type { Attributes, Link, SpanContext, Tracer } from '@opentelemetry/api';
import type {
  Broker,
  ConsumeOptions,
  Consumer,
  Delivery,
  Features,
  Handler,
  Headers,
  LogEntry,
  Publication,
  Topology,
} from './port.ts';

/** What a message says, in a few words of the app: the same words are the same message, wherever it goes. Called for each message, so it reads no more than it must. */
export type Describe = (body: Uint8Array) => string;

/** The broker with spans; without a tracer the broker itself. */
export const traced = (broker: Broker, tracer: Tracer | undefined, describe?: Describe): Broker =>
  tracer === undefined ? broker : new TracedBroker(broker, tracer, describe);

/** Of what a message was made of, so many causes are told. */
const causesMax = 32;
const wordsMax = 200;

/** What is known of a delivery until it is settled. */
interface Trail {
  /** Of `receive`. */
  readonly context: SpanContext;
  /** The span that sent it. */
  readonly id: string | undefined;
  readonly words: string | undefined;
}

/** A delivery that went through here knows the context of its `receive`: what is made of it leads back. */
const received = Symbol('the context of its receive');
type TracedDelivery = Delivery & { readonly [received]?: SpanContext };

class TracedBroker implements Broker {
  readonly #inner: Broker;
  readonly #tracer: Tracer;
  readonly #describe: Describe | undefined;
  readonly #system: string;

  constructor(inner: Broker, tracer: Tracer, describe: Describe | undefined) {
    this.#inner = inner;
    this.#tracer = tracer;
    this.#describe = describe;
    this.#system = inner.features.shared ? 'rabbitmq' : 'memory';
  }

  get features(): Features {
    return this.#inner.features;
  }

  get lost(): Promise<never> {
    return this.#inner.lost;
  }

  incarnation(): Promise<string> {
    return this.#inner.incarnation();
  }

  declare(topology: Topology): Promise<void> {
    return this.#inner.declare(topology);
  }

  remove(what: { queue: string } | { log: string }): Promise<void> {
    return this.#inner.remove(what);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async publish(message: Publication): Promise<void> {
    const { exchange, routingKey, body, headers, causes = [] } = message;
    const attributes = {
      'messaging.system': this.#system,
      'messaging.operation.type': 'send',
      'messaging.operation.name': 'publish',
      'messaging.destination.name': exchange || routingKey,
      'messaging.rabbitmq.destination.routing_key': routingKey,
      'messaging.message.body.size': body.byteLength,
      'lab.message': this.#words(body),
    };
    const contexts = contextsOf(causes);
    const [parent] = contexts.length === 1 ? contexts : [];
    const links: Link[] | undefined = contexts.length > 1 ? contexts.map((context) => ({ context })) : undefined;
    const options = { kind: kinds.producer, attributes, ...(links && { links }) };
    const span = this.#tracer.startSpan(`send ${exchange || routingKey}`, options, contextOf(parent));
    try {
      await this.#inner.publish({ ...message, headers: { ...headers, traceparent: traceparentOf(span.spanContext()) } });
      endSpan(span);
    } catch (error) {
      endSpan(span, error);
      throw error;
    }
  }

  async consume(queue: string, handler: Handler, options: ConsumeOptions): Promise<Consumer> {
    const life = { open: true };
    const attributes = {
      'messaging.system': this.#system,
      'messaging.operation.name': 'consume',
      'messaging.destination.name': queue,
    };
    const begin = (): Promise<Consumer> => this.#inner.consume(queue, (delivery) => this.#take(delivery, handler, life), options);
    const consumer = await tracedCall(this.#tracer, `consume ${queue}`, { attributes }, begin);
    const end = (): void => void (life.open = false);
    consumer.closed.then(end, end);
    return consumer;
  }

  #take(delivery: Delivery, handler: Handler, life: { readonly open: boolean }): void | Promise<void> {
    const { queue, body, headers, redelivered } = delivery;
    const parent = readTraceparent(headers['traceparent']);
    const trail = this.#receive(queue, this.#words(body), redelivered, parent);
    const seen: TracedDelivery = {
      ...delivery,
      headers: parent === undefined ? headers : withoutOurs(headers),
      [received]: trail.context,
    };
    try {
      const outcome = handler(seen);
      if (outcome !== undefined) return this.#settleLater(queue, outcome, trail, life);
      this.#settle(queue, trail, life);
    } catch (error) {
      this.#settle(queue, trail, life, error ?? 'failed');
      throw error;
    }
  }

  /** A method of its own, so that what lives as long as the handler keeps nothing of the delivery but its trail. */
  async #settleLater(queue: string, outcome: Promise<void>, trail: Trail, life: { readonly open: boolean }): Promise<void> {
    try {
      await outcome;
    } catch (error) {
      this.#settle(queue, trail, life, error ?? 'failed');
      throw error;
    }
    this.#settle(queue, trail, life);
  }

  #receive(from: string, words: string | undefined, redelivered: boolean, parent?: SpanContext): Trail {
    const attributes: Attributes = {
      'messaging.system': this.#system,
      'messaging.operation.type': 'receive',
      'messaging.destination.name': from,
      'lab.message': words,
      'lab.message.id': parent?.spanId,
      'lab.redelivered': redelivered,
    };
    const span = this.#tracer.startSpan(`receive ${from}`, { kind: kinds.consumer, attributes }, contextOf(parent));
    endSpan(span);
    return { context: span.spanContext(), id: parent?.spanId, words };
  }

  /** Of a consumer that has ended the broker takes no outcome any more. */
  #settle(queue: string, { context, id, words }: Trail, life: { readonly open: boolean }, error?: unknown): void {
    if (!life.open) return;
    const attributes: Attributes = {
      'messaging.system': this.#system,
      'messaging.operation.type': 'settle',
      'messaging.operation.name': error === undefined ? 'ack' : 'nack',
      'messaging.destination.name': queue,
      'lab.message': words,
      'lab.message.id': id,
    };
    endSpan(this.#tracer.startSpan(`settle ${queue}`, { kind: kinds.consumer, attributes }, contextOf(context)), error);
  }

  /** An entry of a log has no headers: no span leads from `append` to `receive`, only the same words. */
  async append(log: string, body: Uint8Array): Promise<void> {
    const attributes: Attributes = {
      'messaging.system': this.#system,
      'messaging.operation.type': 'send',
      'messaging.operation.name': 'append',
      'messaging.destination.name': log,
      'messaging.message.body.size': body.byteLength,
      'lab.message': this.#words(body),
    };
    const span = this.#tracer.startSpan(`send ${log}`, { kind: kinds.producer, attributes }, contextOf(undefined));
    try {
      await this.#inner.append(log, body);
      endSpan(span);
    } catch (error) {
      endSpan(span, error);
      throw error;
    }
  }

  async read(log: string, from: 'first' | 'next' | number): Promise<AsyncIterableIterator<LogEntry>> {
    const entries = await this.#inner.read(log, from);
    const traced: AsyncIterableIterator<LogEntry> = {
      [Symbol.asyncIterator]: () => traced,
      next: async () => {
        const result = await entries.next();
        if (!result.done) this.#receive(log, this.#words(result.value.body), false);
        return result;
      },
      return: () => entries.return?.() ?? Promise.resolve({ done: true, value: undefined }),
    };
    return traced;
  }

  /** A message that the app cannot read has no words: its handler will say so. */
  #words(body: Uint8Array): string | undefined {
    try {
      return this.#describe?.(body).slice(0, wordsMax);
    } catch {
      return undefined;
    }
  }
}

/** As the publisher gave them; most give none. */
function withoutOurs(headers: Headers): Headers {
  const given: Record<string, Headers[string]> = {};
  for (const name in headers) if (name !== 'traceparent') given[name] = headers[name]!;
  return given;
}

const noContexts: readonly SpanContext[] = Object.freeze([]);

function contextsOf(causes: readonly TracedDelivery[]): readonly SpanContext[] {
  if (causes.length === 0) return noContexts;
  return causes.slice(0, causesMax).flatMap((cause) => cause[received] ?? []);
}
