/** What RabbitMQ's refusals mean in the port's terms. */
import { IllegalOperationError } from 'amqplib';
import { BrokerError, QueueLockedError, TopologyError, UnavailableError } from '../errors.ts';

/** AMQP reply codes that say something about the request rather than the connection. */
const accessRefused = 403;
const notFound = 404;
const resourceLocked = 405;
const preconditionFailed = 406;

function replyCode(error: unknown): number | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : undefined;
}

/** The port's error for a refused call about a queue, log or binding. */
export function refusal(what: string, queue: string, error: unknown): BrokerError {
  if (error instanceof BrokerError) return error;
  const text = error instanceof Error ? error.message : String(error);
  const code = replyCode(error);
  if (code === resourceLocked || (code === accessRefused && text.includes('exclusive')))
    return new QueueLockedError(queue, error);
  if (code === accessRefused) return new TopologyError(`${what}: not permitted: ${text}`, error);
  if (code === notFound) return new TopologyError(`${what}: it does not exist, declare it first: ${text}`, error);
  if (code === preconditionFailed)
    return new TopologyError(
      `${what}: it exists with other options: ${text}. When nothing is left in it, remove it (rabbitmqctl delete_queue), and it is made anew`,
      error,
    );
  return new UnavailableError(`${what}: ${text}`, error);
}

/** The exchange that the broker refused a publish to, when that is why it closed the channel. */
export function refusedExchange(error: unknown): string | undefined {
  const code = replyCode(error);
  if (code !== notFound && code !== accessRefused) return undefined;
  return /exchange '([^']*)'/.exec(error instanceof Error ? error.message : '')?.[1];
}

/** The port's error for a refused read: a stream whose broker has just come back is refused with the codes of one that is not there, or is another. */
export function readRefusal(what: string, log: string, error: unknown): BrokerError {
  const code = replyCode(error);
  const notYet = (code === notFound || code === preconditionFailed) && !isGone(error);
  return notYet ? new UnavailableError(`${what}: ${(error as Error).message}`, error) : refusal(what, log, error);
}

/** The queue is gone, as opposed to being out of reach for now. */
export function isGone(error: unknown): boolean {
  return replyCode(error) === notFound && error instanceof Error && error.message.includes('no queue');
}

/** A delivery was held for longer than RabbitMQ allows. */
export function isHeldTooLong(error: unknown): boolean {
  return replyCode(error) === preconditionFailed && (error as Error).message.includes('delivery acknowledgement');
}

/** Sends on a channel, unless it is closing already: then nothing is sent, and its `close` is about to come. */
export function ignoringClosed(send: () => void): boolean {
  try {
    send();
    return true;
  } catch (error) {
    if (error instanceof IllegalOperationError) return false;
    throw error;
  }
}
