/** A node among the nodes: it registers with an agent, again whenever it finds itself forgotten, and leaves in good order. */
import { retry, type Clock, type Logger } from '@lab/process';
import type { Body, Replies } from '../messages.ts';
import { Refusal } from '../wire/refusal.ts';

export interface MembershipParts {
  readonly id: string;
  readonly name: string;
  /** Where agents are, asked anew for every try. */
  readonly agents: () => Promise<readonly string[]>;
  readonly ask: <K extends 'join' | 'leave'>(agent: string, kind: K, body: Body<K>) => Promise<Replies[K]>;
  /** A proof that this node knows the database's key. */
  readonly newToken: () => string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Where a node can be reached: on which host if not on the one that it speaks from, and where for its health if not where clients are taken. */
interface Listening {
  readonly port: number;
  readonly host?: string;
  readonly healthPort?: number;
}

const againMs = 250;
/** Agents need a moment to assign a leaver's areas to others; who waits longer for that waits in vain. */
const leaveMs = 5_000;

export class Membership {
  readonly #parts: MembershipParts;
  #listening: Listening | undefined;
  #joining: Promise<void> | undefined;
  #leaving = false;
  #gone: () => void = () => undefined;

  constructor(parts: MembershipParts) {
    this.#parts = parts;
  }

  /** Resolves when an agent has registered the node, however long that takes. */
  async join(listening: Listening): Promise<void> {
    this.#listening = listening;
    await this.#register();
  }

  /** What the database has of this node: to be told every so often. */
  seen(registered: boolean): void {
    if (registered) return;
    if (this.#leaving) this.#gone();
    else if (this.#listening !== undefined && this.#joining === undefined) void this.#register();
  }

  /** Resolves when others serve the areas, or when that has taken too long. */
  async leave(): Promise<void> {
    this.#leaving = true;
    if (this.#listening === undefined) return;
    const gone = Promise.withResolvers<void>();
    this.#gone = gone.resolve;
    // Where no agent knows that this node wants to leave, all will notice.
    const told = await this.#askAnAgent('leave', {}).then(
      () => true,
      () => false,
    );
    if (!told) return;
    const cancel = this.#parts.clock.after(leaveMs, gone.resolve);
    await gone.promise;
    cancel();
  }

  async #register(): Promise<void> {
    const { clock, id, name, log } = this.#parts;
    // A node without an agent has nothing else to do.
    const limits = { withinMs: Infinity, pauseMs: againMs, worthwhile: () => !this.#leaving };
    const join = (): Promise<{ address: string }> => this.#askAnAgent('join', { id, name, ...this.#listening! });
    this.#joining ??= retry(join, { clock, ...limits })
      .then(({ address }) => log.info({ address }, 'registered'))
      // It leaves.
      .catch(() => undefined)
      .finally(() => (this.#joining = undefined));
    await this.#joining;
  }

  /** Asks one agent after the other. */
  async #askAnAgent<K extends 'join' | 'leave'>(kind: K, body: Omit<Body<K>, 'token'>): Promise<Replies[K]> {
    const { agents, ask, newToken, log } = this.#parts;
    for (const agent of await agents()) {
      try {
        return await ask(agent, kind, { token: newToken(), ...body } as unknown as Body<K>);
      } catch (error) {
        log.warn({ err: error, agent, kind }, 'an agent did not do what this node asked');
      }
    }
    throw new Refusal('unavailable', 'no agent did what this node asked');
  }
}
