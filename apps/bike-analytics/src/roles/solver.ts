/** Solver of one query: joins the shards' parts into the answer. Runs once; holds the parts until the answer is confirmed. */
import { Barrier, isSpareCopy, type Delivery } from '@lab/middleware';
import type { Role } from '@lab/process';
import type { AnyQuery } from '../domain/query.ts';
import { decode, encode, type Head } from '../messages.ts';
import { queueOf } from '../topology.ts';
import { holdingStage, type SessionParts, Sessions } from './stages.ts';

interface Shares {
  barrier: Barrier;
  /** By shard, so that they are joined in one order whatever the order in which they came. */
  partials: unknown[];
  /** The same of what shards have so far, for those who watch: not held, and as good as the last that came. */
  soFar: unknown[];
}

export function solverRole(parts: SessionParts, query: AnyQuery): Role {
  const sessions = new Sessions<Shares>(parts, () => ({ barrier: new Barrier(), partials: [], soFar: [] }));

  /** Its cause is the part that made it complete. */
  async function publishAnswer(head: Head<'partial'>, partials: unknown[], last: Delivery): Promise<void> {
    const { session, settings, soFar } = head;
    const answer = query.merge(
      partials.filter((partial) => partial !== undefined),
      settings,
    );
    const body = encode({ kind: 'answer', session, query: query.number, soFar }, Buffer.from(JSON.stringify(answer)));
    await parts.broker.publish({ routingKey: queueOf.answers, body, causes: [last] });
    if (soFar === undefined) parts.log.info({ session, query: query.number }, 'answer');
  }

  const queue = queueOf.solver(query.number);
  const take = async (delivery: Delivery): Promise<void> => {
    const { head, body } = decode(delivery.body, 'partial');
    const part = sessions.part(head.session, 'answer');
    const { barrier, partials, soFar } = part.state;
    if (head.soFar === true) {
      if (part.done) return;
      soFar[head.shard] = JSON.parse(body.toString());
      // Who has all has the last word. A lost one is no loss.
      const best = Array.from({ length: head.shards }, (_, shard) => partials[shard] ?? soFar[shard]);
      return publishAnswer(head, best, delivery).catch((error: unknown) =>
        parts.log.debug({ err: error }, 'showing progress failed'),
      );
    }
    if (part.done || isSpareCopy(delivery, barrier.has(head.shard))) return;
    partials[head.shard] = JSON.parse(body.toString());
    barrier.close(head.shards);
    barrier.add(head.shard);
    if (barrier.open) await part.settleAfter(() => publishAnswer(head, partials, delivery));
    return part.settled;
  };
  return holdingStage(parts, sessions, new Map([[queue, take]]));
}
