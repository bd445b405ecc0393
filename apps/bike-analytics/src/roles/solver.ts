/** Solver of one query: joins the shards' parts into the answer. Runs once; holds the parts until the answer is confirmed. */
import type { Consumer, Delivery } from '@lab/middleware';
import type { Role } from '@lab/process';
import { Barrier } from '../domain/barrier.ts';
import { mergePartials } from '../domain/solvers.ts';
import type { Query } from '../domain/terms.ts';
import { decode, encode } from '../messages.ts';
import { queueOf } from '../topology.ts';
import { consumeAlone, followSessions, Held, isSpareCopy } from './held.ts';
import type { SessionParts } from './parts.ts';

interface Shares {
  barrier: Barrier;
  /** By shard, so that they are joined in one order whatever the order in which they came. */
  partials: unknown[];
}

export class SolverRole implements Role {
  readonly failed: Promise<never>;
  readonly #parts: SessionParts;
  readonly #query: Query;
  readonly #held: Held<Shares>;
  readonly #fail: (reason: unknown) => void;
  #consumer: Consumer | undefined;
  #stopFollowing: (() => Promise<void>) | undefined;

  constructor(parts: SessionParts, query: Query) {
    this.#parts = parts;
    this.#query = query;
    this.#held = new Held(parts, () => ({ barrier: new Barrier(), partials: [] }));
    ({ promise: this.failed, reject: this.#fail } = Promise.withResolvers<never>());
  }

  async start(): Promise<void> {
    this.#stopFollowing = await followSessions(this.#parts, () => [this.#held]);
    this.#consumer = await consumeAlone(this.#parts, queueOf.solver(this.#query), (delivery) => this.#take(delivery));
    this.#consumer.closed.catch(this.#fail);
  }

  async stop(): Promise<void> {
    await this.#consumer?.stop();
    await this.#stopFollowing?.();
  }

  async #take(delivery: Delivery): Promise<void> {
    const { head, body } = decode(delivery.body, 'partial');
    const part = this.#held.part(head.session, 'answer');
    const { barrier, partials } = part.state;
    if (part.done || isSpareCopy(delivery, barrier.has(head.shard))) return;
    partials[head.shard] = JSON.parse(body.toString());
    barrier.close(head.shards);
    barrier.add(head.shard);
    if (barrier.open) await part.settleAfter(() => this.#publishAnswer(head.session, partials));
    return part.settled;
  }

  async #publishAnswer(session: string, partials: unknown[]): Promise<void> {
    const answer = mergePartials[this.#query](partials);
    const body = encode({ kind: 'answer', session, query: this.#query }, Buffer.from(JSON.stringify(answer)));
    await this.#parts.broker.publish({ routingKey: queueOf.answers, body });
    this.#parts.log.info({ session, query: this.#query }, 'answer');
  }
}
