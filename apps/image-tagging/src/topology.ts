/** What the configurator declares, and others use by name. */
import type { Queue, Topology } from '@lab/middleware';

/** Chosen on the command line, the same for configurator, servers and workers. */
export interface Names {
  readonly exchange: string;
  readonly queue: string;
  readonly routingKey: string;
}

export const defaultNames: Names = { exchange: 'images', queue: 'image-tagging.worker.jobs', routingKey: 'tag' };

/** Jobs that no worker can do anything with. */
export const deadLettersOf = (queue: string): string => `${queue}.dead`;

export const queuesOf = (queue: string): Queue[] => [
  { name: deadLettersOf(queue) },
  { name: queue, deadLetterQueue: deadLettersOf(queue) },
];

export function topologyOf({ exchange, queue, routingKey }: Names): Topology {
  return {
    exchanges: [{ name: exchange, type: 'direct' }],
    queues: queuesOf(queue),
    bindings: [{ exchange, queue, routingKey }],
  };
}
