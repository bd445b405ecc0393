/**
 * Broker of one topic: takes its batches and gives each filter the columns that it needs. Stateless; any number of replicas share the queue.
 */
import type { Consumer, Delivery } from '@lab/middleware';
import type { Role } from '@lab/process';
import { columnsOf } from '../domain/filters.ts';
import { pickColumns } from '../domain/table.ts';
import { filtersOf, type Topic } from '../domain/terms.ts';
import { decode, encode, type Head } from '../messages.ts';
import { failureLimit, queueOf } from '../topology.ts';
import type { RoleParts } from './parts.ts';

/** Batches worked on at once: enough to hide the broker's confirms, few enough to hold in memory (a batch is about 100 KB). */
export const batchesAtOnce = 32;

export class BrokerRole implements Role {
  readonly #parts: RoleParts;
  readonly #topic: Topic;
  #consumer: Consumer | undefined;

  constructor(parts: RoleParts, topic: Topic) {
    this.#parts = parts;
    this.#topic = topic;
  }

  async start(): Promise<void> {
    const queue = queueOf.broker(this.#topic);
    this.#consumer = await this.#parts.broker.consume(queue, (delivery) => this.#take(delivery), {
      prefetch: batchesAtOnce,
      failureLimit,
    });
  }

  async stop(): Promise<void> {
    await this.#consumer?.stop({ drainMs: 5_000 });
  }

  async #take({ body: bytes }: Delivery): Promise<void> {
    const { head, body } = decode(bytes, 'rows', 'end');
    if (head.kind === 'end') return this.#tellEofListener(head);
    await this.#cut(head, body);
    const { session, topic, number } = head;
    await this.#tellEofListener({ kind: 'passed', session, topic, number, by: 'broker' });
  }

  async #cut(head: Head<'rows'>, table: Buffer): Promise<void> {
    this.#parts.countRows(head.rows);
    const cuts = filtersOf[this.#topic].map((filter) =>
      this.#parts.broker.publish({
        routingKey: queueOf.filter(filter),
        body: encode(head, pickColumns(table, columnsOf[filter])),
      }),
    );
    await Promise.all(cuts);
  }

  async #tellEofListener(head: Head<'passed' | 'end'>): Promise<void> {
    await this.#parts.broker.publish({ routingKey: queueOf.eofListener, body: encode(head) });
  }
}
