/**
 * The port to a message broker: what an app may rely on, whichever adapter is behind it.
 *
 * Delivery is at least once. A published message is never lost once `publish` has resolved; a
 * delivered one is never lost before its handler has returned. Both may happen more than once, so a
 * consumer's state must be idempotent.
 */

/** Names and options of everything a system declares, as data. Declaring the same topology twice changes nothing. */
export interface Topology {
  exchanges?: readonly Exchange[];
  queues?: readonly Queue[];
  bindings?: readonly Binding[];
  logs?: readonly Log[];
}

export interface Exchange {
  name: string;
  type: 'direct' | 'fanout' | 'topic';
}

export interface Queue {
  name: string;
  /** `quorum` (default) survives the broker's restart; `classic` does too, unless it is exclusive. */
  type?: 'quorum' | 'classic';
  /** Only for `classic`: belongs to this broker's connection, and is gone with it. Anybody else gets `QueueLockedError`. */
  exclusive?: boolean;
  /** One consumer at a time gets deliveries, the others stand by in the order in which they came. */
  singleActiveConsumer?: boolean;
  /** The queue that receives what this queue gives up. It must be declared in the same topology. While it is gone, nothing is given up: a message whose handler has failed comes again. */
  deadLetterQueue?: string;
  /**
   * Only for `quorum`: after so many returns to the queue, whatever their cause, the broker itself dead-letters the
   * message. The deaths of consumers count too, and so does what was held for too long (`Handler`), so it does not belong
   * on a queue whose messages must survive crashes, or are acknowledged late: use `failureLimit` of `consume` there.
   */
  deliveryLimit?: number;
}

export interface Binding {
  exchange: string;
  queue: string;
  /** Matched as the exchange's type says; `*` and `#` in a topic exchange. Ignored by a fanout exchange. */
  routingKey?: string;
}

/** An ordered log: every entry stays readable, in one order, for every reader. A RabbitMQ stream. */
export interface Log {
  name: string;
  /** Oldest whole segments go when the log is longer than this, an entry that is longer by itself too. Without it nothing is ever dropped. */
  retentionBytes?: number;
}

export type Headers = Readonly<Record<string, string | number | boolean>>;

export interface Publication {
  /** Without it the default exchange: `routingKey` is the queue's name. */
  exchange?: string;
  routingKey: string;
  /** At most 128 MiB. Must not change before `publish` has resolved: until then it may have to be sent again. */
  body: Uint8Array;
  headers?: Headers;
  /** What it was made of. Adapters ignore it: a trace (`traced.ts`) leads from them to it. */
  causes?: readonly Delivery[];
}

export interface Delivery {
  readonly queue: string;
  /** As it was published first, for a message that failed or died since too. */
  readonly exchange: string;
  readonly routingKey: string;
  /** To read, not to write: in memory the other queues that the message went to, and later deliveries, share it. */
  readonly body: Buffer;
  /** What the publisher gave; on a dead letter also `x-death-reason`, `x-death-error` and `x-death-queue`. */
  readonly headers: Headers;
  /** It was delivered before, to this consumer or another: what it asks for may have been done already. */
  readonly redelivered: boolean;
  /** How often the message came back to a quorum queue, by failure or by death; `undefined` where the queue does not count. */
  readonly deliveryCount: number | undefined;
}

/**
 * Returning (or resolving) acknowledges, throwing (or rejecting) gives the message back. A handler may take as long as it likes
 * to resolve: holding the promise is how a consumer acknowledges late. Handlers of one consumer run concurrently, up to `prefetch`;
 * they are called in the order of the queue.
 *
 * What is held for longer than the broker allows (RabbitMQ's `consumer_timeout`: 30 minutes, in the kit's image 12 hours) is taken back with all else that the consumer
 * holds, and comes again, `redelivered`, to whoever consumes, this consumer too: nothing is lost, the outcome of the first handler is ignored, and a warning names
 * the setting. Who acknowledges late has it set to more than the longest wait.
 */
export type Handler = (delivery: Delivery) => void | Promise<void>;

export interface ConsumeOptions {
  /** Most deliveries whose handlers have not settled, 1..65,535. */
  prefetch: number;
  /** Fail with `QueueLockedError` when the queue has a consumer, and let nobody else consume while this one does. */
  exclusive?: boolean;
  /**
   * How often a handler may fail on one message before it moves to the queue's `deadLetterQueue`, with the reason in its
   * headers. Only failures of the handler count, wherever it ran; a consumer that dies counts nothing. Without it a failed
   * message is tried for ever. The queue must have been declared on this `Broker` with its `deadLetterQueue`, though others declared it too: no
   * broker tells where a queue's dead letters go. Otherwise `consume` is a `TopologyError`.
   */
  failureLimit?: number;
}

export interface Consumer {
  /**
   * Takes no more deliveries and waits for the running handlers, at most `drainMs` (default 0);
   * what has not settled by then goes back to its queue, and its handler's outcome is ignored.
   */
  stop(options?: { drainMs?: number }): Promise<void>;
  /**
   * Resolves after `stop`; rejects when the consumer is lost for good: with a `QueueLockedError` where another took over from an exclusive one, with a
   * `TopologyError` where its queue is gone with all in it, removed by whomever, also while the connection was away; a `BrokerLostError`, which is one
   * too, where the whole broker is. Whoever declares and consumes again begins with nothing.
   *
   * A queue that is there again under the same name, removed and made anew by others before this consumer came to look, is taken for the same one:
   * RabbitMQ tells no life of a queue from the next. Whoever removes a queue that others may consume gives the next one another name.
   */
  readonly closed: Promise<void>;
}

export interface LogEntry {
  /** Grows with every entry of the log, by more than one where the broker keeps notes of its own in between. */
  readonly offset: number;
  readonly body: Buffer;
}

export interface Broker {
  /** What this adapter promises beyond the port; the contract suite tests what is claimed, and nothing else. */
  readonly features: Features;
  /** Which life of the broker's disk this is: a random id that it keeps there itself, the same for all its clients. */
  incarnation(): Promise<string>;
  /**
   * Rejects with a `BrokerLostError` when the broker comes back as another incarnation: without its disk, or because another one has its address. All that this process had there is over: consumers are lost and readers
   * end, publishes under way fail as indefinite, and nothing is declared again. Calls go on, for whoever begins again with nothing. A later loss
   * rejects the promise that is here by then.
   */
  readonly lost: Promise<never>;
  /**
   * Makes what is missing, now and whenever the connection comes back to the same incarnation, but for logs. An existing queue with other options is a
   * `TopologyError` that names it, and the way out.
   */
  declare(topology: Topology): Promise<void>;
  /** Resolves when the message is safe in every queue that it was routed to. What no queue takes is an `UnroutableError`. */
  publish(message: Publication): Promise<void>;
  consume(queue: string, handler: Handler, options: ConsumeOptions): Promise<Consumer>;
  /** Resolves when the entry is safe. A lost connection may append it twice. */
  append(log: string, body: Uint8Array): Promise<void>;
  /**
   * The log's entries from a place on, without end, or until the log is gone, also where another one has its name by then. An offset that was dropped means the oldest entry left. `next`
   * begins with an entry appended after the call began, at the latest with the first one appended after it resolved.
   */
  read(log: string, from: 'first' | 'next' | number): Promise<AsyncIterableIterator<LogEntry>>;
  /** Removes a queue or a log with all in it; one that does not exist is no error. */
  remove(what: { queue: string } | { log: string }): Promise<void>;
  /** Stops consumers and readers, waits for confirms under way, and disconnects. */
  close(): Promise<void>;
}

export interface Features {
  /** Queues and logs outlive the process that declared them. */
  durable: boolean;
  /** Consumers in several processes share the queues. */
  shared: boolean;
}
