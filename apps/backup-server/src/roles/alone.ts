/** A role that runs once waits for its predecessor to be noticed as dead; if the queue is still taken then, another instance lives. */
import { QueueLockedError, type Broker, type Consumer, type Handler } from '@lab/middleware';
import type { Clock, Logger } from '@lab/process';
import { failureLimit } from '../topology.ts';

/** One that was killed is noticed at once, one that hangs after two heartbeats of 5 s. */
const patienceMs = 15_000;

export async function consumeAlone(
  { broker, clock, log }: { broker: Broker; clock: Clock; log: Logger },
  queue: string,
  handler: Handler,
): Promise<Consumer> {
  const deadlineMs = clock.nowMs() + patienceMs;
  for (;;) {
    try {
      return await broker.consume(queue, handler, { prefetch: 100, exclusive: true, failureLimit });
    } catch (error) {
      if (!(error instanceof QueueLockedError)) throw error;
      if (clock.nowMs() > deadlineMs)
        throw new Error(`the nodes manager runs once, and another instance of it consumes "${queue}": stop one of them`, {
          cause: error,
        });
      log.info({ queue }, 'waiting for the queue: another consumer has it');
    }
    await new Promise<void>((resolve) => void clock.after(500, resolve));
  }
}
