/** A node among the nodes: it registers with an agent, again whenever it finds itself forgotten, and leaves in good order. */
import type { Clock, Logger } from '@lab/process';
import type { Body, Replies } from '../messages.ts';

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

const againMs = 250;
/** Agents need a moment to assign a leaver's areas to others; who waits longer for that waits in vain. */
const leaveMs = 3_000;

export class Membership {
  readonly #parts: MembershipParts;
  #listening: { port: number; host?: string } | undefined;
  #joining: Promise<void> | undefined;
  #leaving = false;
  #gone: () => void = () => undefined;

  constructor(parts: MembershipParts) {
    this.#parts = parts;
  }

  /** Resolves when an agent has registered the node, however long that takes. */
  async join(listening: { port: number; host?: string }): Promise<void> {
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
    if (!(await this.#tellAnAgent())) return;
    const cancel = this.#parts.clock.after(leaveMs, gone.resolve);
    await gone.promise;
    cancel();
  }

  /** Whether an agent knows that this node wants to leave; if none does, all will notice. */
  async #tellAnAgent(): Promise<boolean> {
    const { agents, ask, newToken, log } = this.#parts;
    for (const agent of await agents()) {
      try {
        await ask(agent, 'leave', { token: newToken() });
        return true;
      } catch (error) {
        log.warn({ err: error, agent }, 'an agent did not let this node leave');
      }
    }
    return false;
  }

  async #register(): Promise<void> {
    this.#joining ??= this.#tryAgents().finally(() => (this.#joining = undefined));
    await this.#joining;
  }

  async #tryAgents(): Promise<void> {
    const { agents, ask, newToken, id, name, clock, log } = this.#parts;
    while (!this.#leaving) {
      for (const agent of await agents()) {
        try {
          const { address } = await ask(agent, 'join', { token: newToken(), id, name, ...this.#listening! });
          log.info({ agent, address }, 'registered');
          return;
        } catch (error) {
          log.warn({ err: error, agent }, 'an agent did not register this node');
        }
      }
      await new Promise<void>((resolve) => clock.after(againMs, resolve));
    }
  }
}
