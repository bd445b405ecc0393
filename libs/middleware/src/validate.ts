/** What every adapter refuses before it asks a broker, so that a mistake shows in the embedded run too. */
import { TopologyError } from './errors.ts';
import type { ConsumeOptions, Queue, Topology } from './port.ts';

/** RabbitMQ's limit, in 16 bits. */
const prefetchMax = 65_535;

/** Throws a `TopologyError` where a topology contradicts itself. */
export function validateTopology(topology: Topology): void {
  const names = new Set(topology.queues?.map((queue) => queue.name));
  for (const queue of topology.queues ?? []) validateQueue(queue, names);
  for (const { name, retentionBytes } of topology.logs ?? []) {
    if (retentionBytes !== undefined && !(Number.isSafeInteger(retentionBytes) && retentionBytes > 0)) {
      throw new TopologyError(`log "${name}": retentionBytes must be a positive integer, not ${retentionBytes}`);
    }
  }
}

function validateQueue(
  { name, type = 'quorum', exclusive, deadLetterQueue, deliveryLimit }: Queue,
  names: ReadonlySet<string>,
): void {
  const refuse = (why: string): never => {
    throw new TopologyError(`queue "${name}": ${why}`);
  };
  if (exclusive && type === 'quorum') refuse(`a quorum queue cannot be exclusive: say type "classic"`);
  if (deadLetterQueue !== undefined && !names.has(deadLetterQueue)) {
    refuse(`its deadLetterQueue "${deadLetterQueue}" is not in the same topology: add it to the queues`);
  }
  if (deliveryLimit === undefined) return;
  if (type !== 'quorum') refuse(`only quorum queues count deliveries: leave deliveryLimit out, or say type "quorum"`);
  if (!(Number.isInteger(deliveryLimit) && deliveryLimit >= 1))
    refuse(`deliveryLimit must be an integer from 1 on, not ${deliveryLimit}`);
}

/** Throws where options are out of range, or name a dead-letter queue that was not declared on this broker. */
export function validateConsume(
  queue: string,
  { prefetch, failureLimit }: ConsumeOptions,
  deadLetterQueue: string | undefined,
): void {
  if (!(Number.isInteger(prefetch) && prefetch >= 1 && prefetch <= prefetchMax)) {
    throw new RangeError(`consume "${queue}": prefetch must be an integer in 1..${prefetchMax}, not ${prefetch}`);
  }
  if (failureLimit === undefined) return;
  if (!(Number.isInteger(failureLimit) && failureLimit >= 1)) {
    throw new RangeError(`consume "${queue}": failureLimit must be an integer from 1 on, not ${failureLimit}`);
  }
  if (deadLetterQueue === undefined) {
    throw new TopologyError(
      `consume "${queue}": failureLimit needs to know the queue's deadLetterQueue: declare the queue with it on this same broker first (declaring again changes nothing)`,
    );
  }
}
