import { exitCodes } from '@lab/process/exit-codes';

/** Every error of the port. `definite` errors say that nothing happened; after an indefinite one the message may be there. */
export class BrokerError extends Error {
  readonly definite: boolean;
  constructor(message: string, options: { definite: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.name = new.target.name;
    this.definite = options.definite;
  }
}

/** No queue took the message: its exchange has no binding for the routing key, or the queue does not exist. */
export class UnroutableError extends BrokerError {
  constructor(exchange: string, routingKey: string) {
    super(
      `no queue takes routing key "${routingKey}" at exchange "${exchange || '(default)'}": declare the queue or its binding first`,
      { definite: true },
    );
  }
}

/** The queue exists with other options, or the topology contradicts itself. */
export class TopologyError extends BrokerError {
  constructor(what: string, cause?: unknown) {
    super(what, { definite: true, cause });
  }
}

/** The broker has come back as another incarnation: what was declared, published and appended is gone. Whoever begins again begins with nothing. */
export class BrokerLostError extends TopologyError {
  constructor(before: string, now: string) {
    super(
      `the broker has lost its disk, or is another one: its incarnation was ${before}, now it is ${now}. What was declared and published is gone`,
    );
  }
}

/** Another connection owns the exclusive queue, or another consumer consumes it alone. */
export class QueueLockedError extends BrokerError {
  constructor(queue: string, cause?: unknown) {
    super(`queue "${queue}" is taken by another consumer`, { definite: true, cause });
  }
}

/** The broker did not answer within the limit, or the adapter was closed while the call was under way. */
export class UnavailableError extends BrokerError {
  readonly exitCode = exitCodes.unavailable;
  constructor(what: string, cause?: unknown) {
    super(what, { definite: false, cause });
  }
}

/**
 * For a handler to throw: this message can never be processed, so it goes to the queue's `deadLetterQueue` at once, whatever the
 * `failureLimit`. Where the queue has none it is a failure like any other.
 */
export class PoisonError extends Error {
  constructor(reason: string, options?: { cause?: unknown }) {
    super(reason, options);
    this.name = new.target.name;
  }
}
