/**
 * What becomes of a message whose handler failed, the same in every adapter.
 *
 * Failures are counted in the message itself, so that every consumer of the queue, on any machine, continues the count. A broker's own
 * count of deliveries would not do: it counts consumers that died too, and a good message that saw ten of them die is still good.
 */
import { BrokerLostError, PoisonError, TopologyError, UnavailableError, UnroutableError } from './errors.ts';
import type { Headers } from './port.ts';

/** Why a dead letter died: the message of the last error, or `delivery_limit` where the broker gave it up. */
export const deathReasonHeader = 'x-death-reason';
/** The name of that error, as `UnroutableError`: `diedOfBroker` reads it. */
const deathErrorHeader = 'x-death-error';
/** The queue that gave a dead letter up. */
export const deathQueueHeader = 'x-death-queue';

const failuresHeader = 'x-failures';
const returnsHeader = 'x-returns';
const exchangeHeader = 'x-original-exchange';
const routingKeyHeader = 'x-original-routing-key';
const hidden: ReadonlySet<string> = new Set([failuresHeader, returnsHeader, exchangeHeader, routingKeyHeader]);

/** Error messages are cut here: headers travel in one frame, and RabbitMQ's frames end at 128 KiB. */
const reasonCharactersMax = 1_000;

/** Thrown in a handler's place by a simulated crash: the message goes back to its queue, and nothing is counted. */
export class SimulatedCrash extends Error {}

/** Where a message stands: how it was published first, and what happened to it since. */
export interface Origin {
  readonly exchange: string;
  readonly routingKey: string;
  /** What the publisher gave, and why it died if it is a dead letter. */
  readonly headers: Headers;
  /** How often a handler failed on it. */
  readonly failures: number;
  /** Returns to the queue that the broker cannot count, because the message was published again instead. */
  readonly returns: number;
}

const noHeaders: Headers = Object.freeze({});

/** Reads what `retryHeaders` and `deathHeaders` wrote; any other message is its own origin. */
export function originOf(exchange: string, routingKey: string, headers: Headers | undefined): Origin {
  if (headers === undefined) return { exchange, routingKey, headers: noHeaders, failures: 0, returns: 0 };
  if (headers[exchangeHeader] === undefined) return { exchange, routingKey, headers, failures: 0, returns: 0 };
  return {
    exchange: String(headers[exchangeHeader]),
    routingKey: String(headers[routingKeyHeader]),
    headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !hidden.has(name))),
    failures: Number(headers[failuresHeader] ?? 0),
    returns: Number(headers[returnsHeader] ?? 0),
  };
}

const brokerErrors: ReadonlySet<unknown> = new Set(
  [UnroutableError, TopologyError, BrokerLostError, UnavailableError].map(({ name }) => name),
);

/** The dead letter died of the broker, as of a queue that was gone, and not of what it says: sent again it may well be processed. */
export const diedOfBroker = (headers: Headers): boolean => brokerErrors.has(headers[deathErrorHeader]);

/** Headers for the copy that takes a dead letter's place. */
export function deathHeaders(origin: Origin, queue: string, reason: string, error?: string): Headers {
  return {
    ...origin.headers,
    [deathReasonHeader]: reason.slice(0, reasonCharactersMax),
    [deathQueueHeader]: queue,
    ...(error !== undefined && { [deathErrorHeader]: error }),
    [exchangeHeader]: origin.exchange,
    [routingKeyHeader]: origin.routingKey,
  };
}

function retryHeaders(origin: Origin, deliveryCount: number): Headers {
  return {
    ...origin.headers,
    [failuresHeader]: origin.failures + 1,
    [returnsHeader]: deliveryCount + 1,
    [exchangeHeader]: origin.exchange,
    [routingKeyHeader]: origin.routingKey,
  };
}

export interface Failure {
  readonly error: unknown;
  readonly origin: Origin;
  readonly queue: string;
  /** As the handler saw it; 0 where the queue does not count. */
  readonly deliveryCount: number;
  readonly failureLimit: number | undefined;
  readonly deadLetterQueue: string | undefined;
}

/** `return`: give the message back to its queue. Otherwise a copy with these headers goes to `queue`, and then the original is acknowledged. */
export type Verdict = 'return' | { readonly queue: string; readonly headers: Headers };

/** Decides what becomes of a message. */
export function judge(failure: Failure): Verdict {
  const { error, origin, queue, failureLimit, deadLetterQueue } = failure;
  if (error instanceof SimulatedCrash) return 'return';
  const reason = error instanceof Error ? error.message : String(error);
  const exhausted = failureLimit !== undefined && origin.failures + 1 >= failureLimit;
  if (deadLetterQueue !== undefined && (exhausted || error instanceof PoisonError)) {
    return {
      queue: deadLetterQueue,
      headers: deathHeaders(origin, queue, reason, error instanceof Error ? error.name : undefined),
    };
  }
  if (failureLimit === undefined) return 'return';
  return { queue, headers: retryHeaders(origin, failure.deliveryCount) };
}
