/**
 * The deciding part of an agent. All agents try to take the lock; the one that has it looks after the nodes and assigns the areas. The others watch its beat: when
 * it stands still, they end its connection, and with it its turn.
 */
import type { Clock, Logger, Role } from '@lab/process';
import { plan, type Assignment } from '../domain/assignment.ts';
import type { Replies } from '../messages.ts';
import type { Change, DecidingPort, KnownNode, Situation } from '../store/deciding.ts';

export interface DeciderParts {
  /** The agent's name. */
  readonly name: string;
  readonly connect: () => Promise<DecidingPort>;
  readonly askHealth: (address: string, timeoutMs: number) => Promise<Replies['health']>;
  /** Deletes a piece of what nobody needs any more, now and then and when an area was removed, by whoever decides; says whether there may be more. */
  readonly prune: () => Promise<boolean>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The beat, and the interval of health checks. */
const tickMs = 200;
/** A holder whose beat stood still for so long hangs. With `tickMs` and the try after it, another decides within about 1.5 s. */
const hangMs = 1_200;
const healthTimeoutMs = 300;
/** Checks in a row. A node that hangs is out within 1.3 s, one whose machine answers that nobody listens within 0.6 s. */
const failuresMax = 3;
/** Whoever finds all nodes dead may be the one that is cut off: it lets others try before it removes them. */
const stepAsideMs = 1_500;
const againMs = 250;
/** Without a notification assignments are looked at so often. */
const reviewMs = 2_000;
const pruneMs = 60_000;

export class Decider implements Role {
  readonly #parts: DeciderParts;
  #stopped = false;
  #running: Promise<void> = Promise.resolve();
  #wake: () => void = () => undefined;
  /** What assignments follow from may have changed. */
  #changed = true;
  /** It found all nodes dead, and let others look; if it has to decide again, they are. */
  #hasSteppedAside = false;
  /** Beside all the rest, for the beat must not wait for it. */
  #pruning: Promise<void> | undefined;

  constructor(parts: DeciderParts) {
    this.#parts = parts;
  }

  start(): Promise<void> {
    this.#running = this.#run();
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake();
    await this.#running;
    await this.#pruning;
  }

  /** A node came or wants to go, or an administrator changed an area. */
  topologyChanged(): void {
    this.#changed = true;
    this.#wake();
  }

  async #run(): Promise<void> {
    const { connect, log } = this.#parts;
    while (!this.#stopped) {
      let deciding: DecidingPort | undefined;
      let pauseMs = againMs;
      try {
        deciding = await connect();
        if ((await this.#waitForTurn(deciding)) && (await this.#decide(deciding)) === 'step aside') pauseMs = stepAsideMs;
      } catch (error) {
        log.warn({ err: error }, 'not deciding; trying again');
      }
      // With the connection goes the lock.
      await deciding?.close();
      await this.#pause(pauseMs);
    }
  }

  /** Resolves with true when the lock is ours, with false when we are stopped. */
  async #waitForTurn(deciding: DecidingPort): Promise<boolean> {
    const { name, clock, log } = this.#parts;
    let seen = { beat: '', sinceMs: clock.nowMs() };
    while (!this.#stopped) {
      if (await deciding.take(name)) return true;
      const beat = await deciding.seenBeat();
      if (beat !== seen.beat) seen = { beat, sinceMs: clock.nowMs() };
      else if (clock.nowMs() - seen.sinceMs > hangMs && (await deciding.evict(beat)))
        log.warn({ hangMs }, 'the deciding agent hangs: its turn is over');
      await this.#pause(againMs);
    }
    return false;
  }

  /** Until it is stopped, or had better let another one look. */
  async #decide(deciding: DecidingPort): Promise<'stopped' | 'step aside'> {
    const { clock, log } = this.#parts;
    log.info({}, 'deciding who serves what');
    const health = new Health(this.#parts);
    this.#changed = true;
    let [reviewedMs, prunedMs] = [-Infinity, -Infinity];
    while (!this.#stopped) {
      const nodes = await deciding.beat();
      const failed = health.check(nodes);
      if (failed.length > 1 && failed.length === nodes.length && !this.#hasSteppedAside) {
        log.warn({ stepAsideMs }, 'no node answers: letting another agent look');
        this.#hasSteppedAside = true;
        return 'step aside';
      }
      if (failed.length < nodes.length && health.hasAnswers) this.#hasSteppedAside = false;
      if (this.#changed || failed.length > 0 || clock.nowMs() - reviewedMs > reviewMs) {
        if (this.#changed || clock.nowMs() - prunedMs > pruneMs) {
          prunedMs = clock.nowMs();
          this.#pruning ??= this.#prune().finally(() => (this.#pruning = undefined));
        }
        this.#changed = false;
        reviewedMs = clock.nowMs();
        await this.#assign(deciding, failed);
      }
      await this.#pause(tickMs);
    }
    return 'stopped';
  }

  async #assign(deciding: DecidingPort, failed: readonly KnownNode[]): Promise<void> {
    const change = changeOf(await deciding.situation(), new Set(failed.map(({ id }) => id)));
    const { removedNodes, added, dropped } = change;
    if (removedNodes.length + added.length + dropped.length === 0) return;
    await deciding.apply(change);
    const gone = failed.map(({ name, address }) => `${name} at ${address}`);
    this.#parts.log.info({ gone, added: added.length, dropped: dropped.length }, 'assigned areas');
  }

  /** All that there is to delete, piece by piece. What fails is tried again when it is due the next time. */
  async #prune(): Promise<void> {
    try {
      while (!this.#stopped && (await this.#parts.prune()));
    } catch (error) {
      this.#parts.log.warn({ err: error }, 'what nobody needs any more could not be deleted; trying again later');
    }
  }

  /** Ends early when there is something to do. */
  #pause(ms: number): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    const over = Promise.withResolvers<void>();
    const cancel = this.#parts.clock.after(ms, over.resolve);
    this.#wake = () => {
      cancel();
      over.resolve();
    };
    return over.promise;
  }
}

/** What has to change, so that the nodes that stay serve the areas; nodes that want to leave go in the same step. */
function changeOf({ areas, nodes, leaving, assignments }: Situation, failed: ReadonlySet<string>): Change {
  const staying = nodes.filter((node) => !failed.has(node));
  const wanted = plan(areas, staying, assignments);
  const name = ({ area, node }: Assignment): string => `${area} ${node}`;
  const [before, after] = [new Set(assignments.map(name)), new Set(wanted.map(name))];
  return {
    removedNodes: [...failed, ...leaving],
    added: wanted.filter((each) => !before.has(name(each))),
    dropped: assignments.filter((each) => !after.has(name(each))),
  };
}

/** Whether nodes answer: each is asked again as soon as its last question was answered, or was not. */
class Health {
  readonly #parts: DeciderParts;
  readonly #failures = new Map<string, number>();
  readonly #asking = new Set<string>();
  /** A node has answered well. */
  hasAnswers = false;

  constructor(parts: DeciderParts) {
    this.#parts = parts;
  }

  /** Asks those that are not being asked; gives those that have failed too often. */
  check(nodes: readonly KnownNode[]): KnownNode[] {
    const known = new Set(nodes.map(({ id }) => id));
    for (const id of this.#failures.keys()) if (!known.has(id)) this.#failures.delete(id);
    for (const node of nodes) if (!this.#asking.has(node.id)) void this.#ask(node);
    return nodes.filter(({ id }) => (this.#failures.get(id) ?? 0) >= failuresMax);
  }

  async #ask({ id, name, healthAddress }: KnownNode): Promise<void> {
    this.#asking.add(id);
    try {
      const answer = await this.#parts.askHealth(healthAddress, healthTimeoutMs);
      // Another one at this address: the one that was registered is gone.
      if (answer.id !== id) this.#failures.set(id, failuresMax);
      else if (answer.healthy) {
        this.hasAnswers = true;
        this.#failures.delete(id);
      } else this.#fail(id);
    } catch (error) {
      this.#parts.log.debug({ err: error, node: name }, 'a node failed its check');
      this.#fail(id);
    } finally {
      this.#asking.delete(id);
    }
  }

  #fail(id: string): void {
    this.#failures.set(id, (this.#failures.get(id) ?? 0) + 1);
  }
}
