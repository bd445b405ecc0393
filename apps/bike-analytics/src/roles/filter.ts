/**
 * Filter of one topic for one query: keeps the rows that the query needs, sums what can be summed within a batch, and hands the
 * rest to the trips-solvers. Weather and stations go to every shard, a batch of trips to one. Stateless; replicas share the queue.
 */
import { decodeTable, encodeTable } from '@lab/columns';
import type { Delivery } from '@lab/middleware';
import type { Role } from '@lab/process';
import type { Filter } from '../domain/queries.ts';
import { decode, encode, type Head } from '../messages.ts';
import { everyShard, passedExchange, queueOf, shardExchange } from '../topology.ts';
import { type RoleParts, sharedStage } from './stages.ts';

export function filterRole(parts: RoleParts, kind: Filter): Role {
  const { broker } = parts;
  const { name, query, columns } = kind;
  const toSolvers = (routingKey: string, body: Uint8Array, causes: readonly Delivery[]): Promise<void> =>
    broker.publish({ exchange: shardExchange(query.number), routingKey, body, causes });

  /** The end of weather and stations goes straight on; that of trips waits for all filters at the eof-trips-listener. */
  const passEnd = (head: Head<'end'>, causes: readonly Delivery[]): Promise<void> =>
    head.topic === 'trips'
      ? broker.publish({ routingKey: queueOf.eofTripsListener(query.number), body: encode(head), causes })
      : toSolvers(everyShard, encode(head), causes);

  /** What is passed on is confirmed before it is reported, and reported before the batch is acknowledged. */
  return sharedStage(parts, queueOf.filter(name), async (delivery) => {
    const { head, body } = decode(delivery.body, 'rows', 'end');
    const causes = [delivery];
    if (head.kind === 'end') return passEnd(head, causes);
    const { session, topic, number, city, shards, settings, rows } = head;
    parts.countRows(rows);
    const kept = kind.filter(city, decodeTable(body, columns), settings);
    await toSolvers(topic === 'trips' ? String(number % shards) : everyShard, encode(head, encodeTable(kept)), causes);
    const report = encode({ kind: 'passed', session, topic, number, by: name });
    await broker.publish({ exchange: passedExchange, routingKey: name, body: report, causes });
  });
}
