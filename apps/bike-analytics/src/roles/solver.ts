/** Solver of one query: joins the shards' parts into the answer. Runs once; holds the parts until the answer is confirmed. */
import { Barrier, isSpareCopy, type Delivery } from '@lab/middleware';
import type { Role } from '@lab/process';
import { mergePartials } from '../domain/solvers.ts';
import type { Query } from '../domain/terms.ts';
import { decode, encode } from '../messages.ts';
import { queueOf } from '../topology.ts';
import { holdingStage, type SessionParts, Sessions } from './stages.ts';

interface Shares {
  barrier: Barrier;
  /** By shard, so that they are joined in one order whatever the order in which they came. */
  partials: unknown[];
}

export function solverRole(parts: SessionParts, query: Query): Role {
  const sessions = new Sessions<Shares>(parts, () => ({ barrier: new Barrier(), partials: [] }));

  async function publishAnswer(session: string, partials: unknown[]): Promise<void> {
    const answer = mergePartials[query](partials);
    const body = encode({ kind: 'answer', session, query }, Buffer.from(JSON.stringify(answer)));
    await parts.broker.publish({ routingKey: queueOf.answers, body });
    parts.log.info({ session, query }, 'answer');
  }

  const queue = queueOf.solver(query);
  const take = async (delivery: Delivery): Promise<void> => {
    const { head, body } = decode(delivery.body, 'partial');
    const part = sessions.part(head.session, 'answer');
    const { barrier, partials } = part.state;
    if (part.done || isSpareCopy(delivery, barrier.has(head.shard))) return;
    partials[head.shard] = JSON.parse(body.toString());
    barrier.close(head.shards);
    barrier.add(head.shard);
    if (barrier.open) await part.settleAfter(() => publishAnswer(head.session, partials));
    return part.settled;
  };
  return holdingStage(parts, sessions, new Map([[queue, take]]));
}
