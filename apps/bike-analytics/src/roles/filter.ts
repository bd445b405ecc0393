/**
 * Filter of one topic for one query: keeps the rows that the query needs, sums what can be summed within a batch, and hands the
 * rest to the trips-solvers. Weather and stations go to every shard, a batch of trips to one. Stateless; replicas share the queue.
 */
import type { Consumer, Delivery } from '@lab/middleware';
import type { Role } from '@lab/process';
import { columnsOf, filterRows } from '../domain/filters.ts';
import { decodeTable, encodeTable } from '../domain/table.ts';
import { queryOf, type FilterName } from '../domain/terms.ts';
import { decode, encode, type Head } from '../messages.ts';
import { everyShard, failureLimit, passedExchange, queueOf, shardExchange } from '../topology.ts';
import { batchesAtOnce } from './broker.ts';
import type { RoleParts } from './parts.ts';

export class FilterRole implements Role {
  readonly #parts: RoleParts;
  readonly #filter: FilterName;
  #consumer: Consumer | undefined;

  constructor(parts: RoleParts, filter: FilterName) {
    this.#parts = parts;
    this.#filter = filter;
  }

  async start(): Promise<void> {
    const queue = queueOf.filter(this.#filter);
    this.#consumer = await this.#parts.broker.consume(queue, (delivery) => this.#take(delivery), {
      prefetch: batchesAtOnce,
      failureLimit,
    });
  }

  async stop(): Promise<void> {
    await this.#consumer?.stop({ drainMs: 5_000 });
  }

  /** What is passed on is confirmed before it is reported, and reported before the batch is acknowledged. */
  async #take({ body: bytes }: Delivery): Promise<void> {
    const { head, body } = decode(bytes, 'rows', 'end');
    if (head.kind === 'end') return this.#passEnd(head);
    this.#parts.countRows(head.rows);
    const kept = filterRows[this.#filter](head.city, decodeTable(body, columnsOf[this.#filter]));
    await this.#toSolvers(
      head.topic === 'trips' ? String(head.number % head.shards) : everyShard,
      encode(head, encodeTable(kept)),
    );
    const { session, topic, number } = head;
    await this.#report(encode({ kind: 'passed', session, topic, number, by: this.#filter }));
  }

  /** The end of weather and stations goes straight on; that of trips waits for all filters at the eof-trips-listener. */
  async #passEnd(head: Head<'end'>): Promise<void> {
    if (head.topic === 'trips') {
      await this.#parts.broker.publish({ routingKey: queueOf.eofTripsListener(queryOf(this.#filter)), body: encode(head) });
    } else {
      await this.#toSolvers(everyShard, encode(head));
    }
  }

  async #toSolvers(routingKey: string, body: Uint8Array): Promise<void> {
    await this.#parts.broker.publish({ exchange: shardExchange(queryOf(this.#filter)), routingKey, body });
  }

  async #report(body: Uint8Array): Promise<void> {
    await this.#parts.broker.publish({ exchange: passedExchange, routingKey: this.#filter, body });
  }
}
