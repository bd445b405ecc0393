/**
 * The consortium as a client sees it: one service that answers, whichever agent and node does the work. It asks an agent for the nodes of an area and one of
 * those for the rest, follows when a node names others, and tries again, elsewhere, as long as its patience lasts. To try again does no harm, for
 * requests that must not be done twice carry a key.
 */
import { exitCodes, retry, type Clock } from '@lab/process';
import { FrameTooLargeError, FramingError, HandshakeError } from '@lab/protocol';
import type { Ask } from '../wire/asking.ts';
import { operations, type Body, type Kind, type Replies } from '../messages.ts';
import { Refusal } from '../wire/refusal.ts';

export interface ConsortiumOptions {
  /** Where agents are, asked anew when none of those known answers. */
  readonly agents: () => Promise<readonly string[]>;
  readonly ask: Ask;
  readonly clock: Clock;
  /** How long one request is tried. */
  readonly patienceMs: number;
  /** Ends the tries. */
  readonly signal?: AbortSignal;
  /** Something did not answer and is tried again: for people who wait. */
  readonly onTrouble?: (error: Error) => void;
}

/** Nobody answered in all that time, and what was tried last went wrong in this way. It may have been done all the same. */
export class NoAnswerError extends Error {
  override readonly name = 'NoAnswerError';
  readonly exitCode = exitCodes.unavailable;
}

/** A peer that hangs is left after so long: with the time in which agents notice a hung node, it is less than 2 s until another serves. */
const nodeAttemptMs = 800;
const agentAttemptMs = 1_200;
/** To look at a password takes 0.2 s of a core: whoever is the last of all that an agent lets wait has an answer by then. */
const passwordAttemptMs = 4_000;
/** So many tries without an answer are those of peers that are gone; where the next ones have none either, the machine is slow for all, and they get more time. */
const goneMax = 2;
const attemptMsMax = 10_000;
const isOfPassword = (kind: Kind): boolean => 'password' in operations[kind].request;
/** How long a try may take that would usually take so long. With a try the work on a password is lost: it gets more time from the second one on. */
type Within = (attemptMs: number, gone?: number) => number;
const pauseMsMin = 50;
const pauseMsMax = 200;
/** A node that did not answer is asked again only then: by that time agents name others. One that answered, if only that the database is away, may be asked again soon. */
const suspectMs = 1_500;

export class Consortium {
  readonly #options: ConsortiumOptions;
  #agents: string[] = [];
  /** The nodes of areas, as agents or nodes have said; `''` is for requests that any node answers. */
  readonly #nodes = new Map<string, readonly string[]>();
  readonly #suspectedMs = new Map<string, number>();

  constructor(options: ConsortiumOptions) {
    this.#options = options;
  }

  /**
   * Asks whichever agent answers, or a node: one that serves the area of which it is, or any. Throws the refusal, or `NoAnswerError`. A refusal is that of the
   * last try: where an earlier one brought no answer (`onTrouble` was told), that one may have been done, and the session closed since.
   */
  async ask<K extends Kind>(kind: K, body: Body<K>): Promise<Replies[K]> {
    if (operations[kind].to === 'agent') return this.#patiently((within) => this.#askAgent(kind, body, within));
    const { area } = body as { area?: string };
    return this.withNode(area, (address, timeoutMs) => this.#options.ask(address, kind, body, { timeoutMs }));
  }

  /** Does something with a node that serves the area; where that fails for want of an answer, again with the same or another node. */
  async withNode<T>(area: string | undefined, work: (address: string, timeoutMs: number) => Promise<T>): Promise<T> {
    return this.#patiently(async (within) => {
      try {
        return await this.#tryNode(area, work, within);
      } catch (error) {
        // Who names others has answered: those are asked at once, but not round and round.
        if (!namesNodes(error)) throw error;
        return this.#tryNode(area, work, within);
      }
    });
  }

  async #tryNode<T>(
    area: string | undefined,
    work: (address: string, timeoutMs: number) => Promise<T>,
    within: Within,
  ): Promise<T> {
    const address = await this.#nodeOf(area, within);
    try {
      return await work(address, within(nodeAttemptMs));
    } catch (error) {
      this.#nodes.delete(area ?? '');
      if (error instanceof Refusal && error.code === 'not-served') this.#remember(area, error.details.nodes ?? []);
      else if (error instanceof FramingError) this.#suspectedMs.set(address, this.#options.clock.nowMs());
      throw error;
    }
  }

  async #askAgent<K extends Kind>(kind: K, body: Body<K>, within: Within): Promise<Replies[K]> {
    if (this.#agents.length === 0) this.#agents = [...(await this.#options.agents())];
    const agent = this.#agents[0];
    if (agent === undefined) throw new Refusal('unavailable', 'no agent is known');
    try {
      return await this.#options.ask(agent, kind, body, {
        timeoutMs: isOfPassword(kind) ? within(passwordAttemptMs, 0) : within(agentAttemptMs),
      });
    } catch (error) {
      // The next one, and after the last one all of them, looked up again.
      if (triesAgain(error)) this.#agents.shift();
      throw error;
    }
  }

  async #nodeOf(area: string | undefined, within: Within): Promise<string> {
    const known = this.#nodes.get(area ?? '') ?? (await this.#askAgent('where', { area }, within)).nodes;
    this.#remember(area, known);
    const nowMs = this.#options.clock.nowMs();
    const trusted = known.find((address) => nowMs - (this.#suspectedMs.get(address) ?? -Infinity) > suspectMs);
    if (trusted !== undefined) return trusted;
    // Agents remove what does not answer: those that they name next may be others.
    this.#nodes.delete(area ?? '');
    throw new Refusal('unavailable', `no node that serves ${area ?? 'anything'} answers: ${known.join(', ')}`);
  }

  #remember(area: string | undefined, nodes: readonly string[]): void {
    if (nodes.length > 0) this.#nodes.set(area ?? '', nodes);
  }

  /** Tries until it works, is refused for good, or takes too long. */
  async #patiently<T>(attempt: (within: Within) => Promise<T>): Promise<T> {
    const { clock, patienceMs, signal, onTrouble } = this.#options;
    const lateMs = clock.nowMs() + patienceMs;
    let unanswered = 0;
    // Up to eight times as much.
    const slack = (gone: number): number => 2 ** Math.min(3, Math.max(0, unanswered - gone));
    const within: Within = (attemptMs, gone = goneMax) =>
      Math.max(1, Math.min(attemptMs * slack(gone), Math.max(attemptMs, attemptMsMax), lateMs - clock.nowMs()));
    const onRetry = (error: unknown): void => {
      if (error instanceof FramingError && !error.definite) unanswered++;
      onTrouble?.(error as Error);
    };
    const limits = { withinMs: patienceMs, pauseMs: { first: pauseMsMin, most: pauseMsMax }, worthwhile: triesAgain };
    try {
      return await retry(() => attempt(within), { clock, ...limits, onRetry, ...(signal !== undefined && { signal }) });
    } catch (error) {
      if (!triesAgain(error)) throw error;
      throw new NoAnswerError(`no answer in ${patienceMs / 1000} s: ${error.message}`, { cause: error });
    }
  }
}

const namesNodes = (error: unknown): boolean => error instanceof Refusal && (error.details.nodes?.length ?? 0) > 0;

/** Whether the same request may fare better with another peer, or later. */
export function triesAgain(error: unknown): error is Error {
  if (error instanceof Refusal) return error.code === 'unavailable' || error.code === 'not-served';
  return error instanceof FramingError && !(error instanceof FrameTooLargeError || error instanceof HandshakeError);
}
