/** For the roles that run once, whose state would be torn in two by a second instance. */
import type { PlainLogger } from '@lab/process';
import { retry, type Clock } from '@lab/process/time';
import { BrokerError, QueueLockedError } from '../errors.ts';
import type { Broker, ConsumeOptions, Consumer, Handler } from '../port.ts';

/** What a pattern needs of its role. */
export interface PatternParts {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Pick<PlainLogger, 'info' | 'warn'>;
}

/** A predecessor that was killed is noticed at once, one that hangs after two heartbeats of 5 s. */
const patienceMs = 15_000;
const pauseMs = 500;

/**
 * Consumes a queue as its only consumer. Waits up to 15 s for a predecessor to be noticed as dead; if the queue is taken even then, another
 * instance lives, and this rejects. `closed` of the consumer rejects when another took the queue during an outage: end the role then.
 *
 * It is a lock of the broker, not a fence: who hangs and wakes up may still publish what it had in hand.
 */
export async function consumeAlone(
  { broker, clock, log }: PatternParts,
  queue: string,
  handler: Handler,
  options: Omit<ConsumeOptions, 'exclusive'>,
): Promise<Consumer> {
  try {
    return await retry(() => broker.consume(queue, handler, { ...options, exclusive: true }), {
      clock,
      withinMs: patienceMs,
      // Equal pauses without jitter, which are half of this: only one waits, and a simulation can replay it.
      ...{ pauseMs: 2 * pauseMs, random: () => 0 },
      worthwhile: (error) => error instanceof QueueLockedError,
      onRetry: () => log.info({ queue }, 'waiting for the queue: another consumer has it'),
    });
  } catch (cause) {
    if (!(cause instanceof QueueLockedError)) throw cause;
    throw new BrokerError(`"${queue}" has one consumer only, and another instance is it: stop one of them`, {
      definite: true,
      cause,
    });
  }
}
