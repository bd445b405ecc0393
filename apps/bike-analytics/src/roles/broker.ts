/** Broker of one topic: takes its batches and gives each filter the columns that it needs. Stateless; any number of replicas share the queue. */
import { pickColumns } from '@lab/columns';
import type { Delivery } from '@lab/middleware';
import type { Role } from '@lab/process';
import { filtersOf } from '../domain/queries.ts';
import type { Topic } from '../domain/terms.ts';
import { decode, encode, type Head } from '../messages.ts';
import { queueOf } from '../topology.ts';
import { type RoleParts, sharedStage } from './stages.ts';

export function brokerRole(parts: RoleParts, topic: Topic): Role {
  const { broker } = parts;
  const tellEofListener = (head: Head<'passed' | 'end'>, causes: readonly Delivery[]): Promise<void> =>
    broker.publish({ routingKey: queueOf.eofListener, body: encode(head), causes });

  async function cut(head: Head<'rows'>, table: Buffer, causes: readonly Delivery[]): Promise<void> {
    parts.countRows(head.rows);
    const cuts = filtersOf[topic].map(({ name, columns }) =>
      broker.publish({ routingKey: queueOf.filter(name), body: encode(head, pickColumns(table, columns)), causes }),
    );
    await Promise.all(cuts);
  }

  return sharedStage(parts, queueOf.broker(topic), async (delivery) => {
    const { head, body } = decode(delivery.body, 'rows', 'end');
    if (head.kind === 'end') return tellEofListener(head, [delivery]);
    await cut(head, body, [delivery]);
    const { session, topic, number } = head;
    await tellEofListener({ kind: 'passed', session, topic, number, by: 'broker' }, [delivery]);
  });
}
