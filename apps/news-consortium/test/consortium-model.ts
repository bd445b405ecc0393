/**
 * Agents and nodes as processes of a simulated world: the roles' own code where it needs no SQL, between them a network that is cut, and in memory what PostgreSQL is to them. Faults strike
 * where a role calls the database or another role.
 */
import { inTime, silentLogger, sleep, type Logger } from '@lab/process';
import { PromiseBroken, type KindName, type Life, type World } from '@lab/simulation';
import type { Request } from '../src/messages.ts';
import { Agent, type AgentParts } from '../src/roles/agent.ts';
import { Decider, type DeciderParts } from '../src/roles/decider.ts';
import { Membership } from '../src/roles/membership.ts';
import { answerMs, Contact } from '../src/store/contact.ts';
import type { Change, DecidingPort, KnownNode, Situation } from '../src/store/deciding.ts';
import { DatabaseUnavailableError } from '../src/store/database.ts';
import { joinAddress } from '../src/wire/asking.ts';
import { Tokens } from '../src/wire/tokens.ts';
import { MemoryDatabase, type MemoryDeciding } from './memory-database.ts';

/** As in the wiring and the store. */
const [connectMs, askMs, probeMs, probeAgainMs] = [3_000, 1_000, 500, 200];
const port = 9_000;
const tokens = new Tokens(Buffer.alloc(32), () => 0);

/** What a role does again and again is asked for faults now and then only: otherwise nothing would strike elsewhere. */
const routine: ReadonlySet<string> = new Set(['take', 'seenBeat', 'beat', 'health', 'probe']);
const routineEvery = 5;

/** What strikes where a process calls another one or the database: a cut of what is between, or of one of them from all. */
const cuts = {
  'cut off': (caller) => caller,
  'cut from registry': (caller) => between(caller, 'postgres'),
  'link cut': between,
  'heartbeats lost': (_, callee) => `health of ${callee}`,
} satisfies Partial<Record<KindName, (caller: string, callee: string) => string>>;
const cutKinds = Object.keys(cuts) as (keyof typeof cuts)[];

export const modelKinds = [...cutKinds, 'registry away', 'connection lost', 'delivered late'] as const satisfies KindName[];

function between(one: string, other: string): string {
  return [one, other].toSorted().join(' and ');
}

/** A node that runs. */
interface RunningNode {
  readonly id: string;
  readonly life: Life;
  readonly membership: Membership;
  readonly isHealthy: () => boolean;
}

/** What a deciding agent is about to write, on the connection that it has. */
export interface Writing {
  readonly agent: string;
  readonly connection: MemoryDeciding;
  readonly situation: Situation;
  /** Others have written since it looked. */
  readonly isOutdated: boolean;
  readonly change: Change;
}

export class ConsortiumModel {
  readonly world: World;
  readonly database = new MemoryDatabase(() => this.#notify());
  readonly agents: readonly string[];
  readonly nodes: readonly string[];
  readonly running = new Map<string, RunningNode>();
  /** How often assignments were written. */
  writes = 0;
  /** Rejects with a promise that is broken. */
  readonly broken = Promise.withResolvers<never>();
  readonly #onWriting: (writing: Writing) => void;
  readonly #deciders = new Map<string, Decider>();
  readonly #services = new Map<string, Agent>();
  readonly #connections = new Set<MemoryDeciding>();
  /** What is cut, until when. */
  readonly #cutUntilMs = new Map<string, number>();
  /** When something happened to a process, or will have ended. */
  readonly #troubledMs = new Map<string, number>();
  /** Nodes that have, by their ids. */
  readonly #endedMs = new Map<string, number>();
  #awayUntilMs = 0;
  #routine = 0;

  constructor(world: World, { agents, nodes }: { agents: number; nodes: number }, onWriting: (writing: Writing) => void) {
    this.world = world;
    this.#onWriting = onWriting;
    this.agents = Array.from({ length: agents }, (_, index) => `agent-${index + 1}`);
    this.nodes = Array.from({ length: nodes }, (_, index) => `node-${index + 1}`);
    for (const agent of this.agents) world.start(agent, (life) => this.#runAgent(life));
    for (const node of this.nodes) world.start(node, (life) => this.#runNode(life));
  }

  fail(promise: string, detail: string): void {
    this.broken.reject(new PromiseBroken(promise, detail));
  }

  /** Nothing passes there for so long. */
  cut(what: string, forMs: number): void {
    const untilMs = Math.max(this.#cutUntilMs.get(what) ?? 0, this.#nowMs + forMs);
    this.#cutUntilMs.set(what, untilMs);
  }

  cutLink(one: string, other: string, forMs: number): void {
    this.cut(between(one, other), forMs);
  }

  /** How long nothing has happened to any of these, and nothing does. */
  undisturbedMs(...names: readonly string[]): number {
    return this.#nowMs - Math.max(0, ...names.map((name) => this.#troubledMs.get(name) ?? 0));
  }

  #trouble(name: string, forMs: number): void {
    this.#troubledMs.set(name, Math.max(this.#troubledMs.get(name) ?? 0, this.#nowMs + forMs));
  }

  get #nowMs(): number {
    return this.world.clock.nowMs();
  }

  async #runAgent(life: Life): Promise<void> {
    this.#watchOver(life);
    const askHealth: DeciderParts['askHealth'] = (address, timeoutMs) => this.#askHealth(life, address, timeoutMs);
    const decider = new Decider({
      ...{ name: life.name, clock: life.clock, log: tellerOf(life), askHealth },
      connect: () => this.#connect(life),
      prune: () => Promise.resolve(false),
    });
    const statement = (name: string, id: string, run: () => void): Promise<void> =>
      this.#onDatabase(life, name, id, askMs, async () => run());
    const areas = {
      join: (node: KnownNode) => {
        if (this.#nowMs - (this.#endedMs.get(node.id) ?? Infinity) > askMs)
          this.fail('An agent registers only what it can reach', `${life.name} registers ${node.id}, which has ended`);
        return statement('join', node.id, () => this.database.join(node));
      },
      leave: (id: string) => statement('leave', id, () => this.database.leave(id)),
    };
    // What nodes ask of an agent; users are for tests on PostgreSQL.
    const parts = { areas, tokens, joinAddress, askHealth, askNode: askHealth, log: silentLogger };
    this.#deciders.set(life.name, decider);
    this.#services.set(life.name, new Agent(parts as unknown as AgentParts));
    await decider.start();
  }

  async #runNode(life: Life): Promise<void> {
    this.#watchOver(life);
    const { name, clock } = life;
    const id = `${name}.${life.number}`;
    life.onEnd(() => this.#endedMs.set(id, this.#nowMs));
    const ask = (agent: string, kind: 'join' | 'leave', body: object): Promise<never> => this.#askAgent(life, agent, kind, body);
    const membership = new Membership({
      ...{ id, name, clock, ask, log: silentLogger },
      agents: async () => life.random.shuffle(this.agents),
      newToken: () => tokens.sign({ kind: 'node', id, expiresMs: 1 }),
    });
    const contact = new Contact(clock);
    this.running.set(name, { id, life, membership, isHealthy: () => contact.isThere });
    void membership.join({ port, host: name });
    const probe = (): Promise<boolean> => this.#onDatabase(life, 'probe', id, answerMs, async () => this.database.nodes.has(id));
    for (;;) {
      const known = await contact.ask(probe).catch(() => undefined);
      if (known === undefined) this.#trouble(name, 0);
      else membership.seen(known);
      await sleep(clock, known === undefined ? probeAgainMs : probeMs);
    }
  }

  #watchOver(life: Life): void {
    this.#trouble(life.name, 0);
    life.onPause((forMs) => this.#trouble(life.name, forMs));
    life.onEnd((backMs) => {
      this.#trouble(life.name, backMs);
      for (const parts of [this.#deciders, this.#services, this.running]) parts.delete(life.name);
    });
  }

  /** A connection for a deciding agent, as it sees it. */
  async #connect(life: Life): Promise<DecidingPort> {
    const connection = await this.#onDatabase(life, 'connect', '', connectMs, async () => this.database.connect());
    this.#connections.add(connection);
    const end = async (): Promise<void> => {
      await this.#passage(life.name, 'postgres');
      connection.end();
      this.#connections.delete(connection);
    };
    life.onEnd(() => void end());
    let seen: { situation: Situation; writes: number };
    const statement = <T>(name: string, text: string, run: () => Promise<T>): Promise<T> =>
      this.#onDatabase(life, name, text, answerMs, run, connection);
    return {
      take: (agent) => statement('take', '', () => connection.take(agent)),
      seenBeat: () => statement('seenBeat', '', () => connection.seenBeat()),
      evict: (beat) => statement('evict', beat, () => connection.evict(beat)),
      beat: () => statement('beat', '', () => connection.beat()),
      situation: () =>
        statement('situation', '', async () => {
          seen = { situation: await connection.situation(), writes: this.writes };
          return seen.situation;
        }),
      apply: (change) =>
        statement('apply', textOf(change), async () => {
          if (!connection.hasEnded) {
            const { situation, writes } = seen;
            this.#onWriting({ agent: life.name, connection, situation, isOutdated: writes !== this.writes++, change });
          }
          return connection.apply(change);
        }),
      close: end,
    };
  }

  /** A statement: it is done when it gets there, even if nobody waits for it any more, as long as its connection lasts. */
  #onDatabase<T>(
    life: Life,
    name: string,
    text: string,
    withinMs: number,
    run: () => Promise<T>,
    connection?: MemoryDeciding,
  ): Promise<T> {
    const work = this.#call(life, name, 'postgres', text, async (place) => {
      if (this.#isAway(life, place)) throw new DatabaseUnavailableError('the database is away');
      if (connection && place !== '' && life.strikes('connection lost', place, text) !== undefined) connection.end();
      await this.#passage(life.name, 'postgres');
      const result = await run();
      await this.#passage(life.name, 'postgres');
      return result;
    });
    return inTime(life.clock, withinMs, work, () => new DatabaseUnavailableError('the database did not answer in time'));
  }

  /** While the database is away there are no connections. */
  #isAway(life: Life, place: string): boolean {
    const awayMs = place === '' ? undefined : life.strikes('registry away', place);
    if (awayMs !== undefined) {
      this.#awayUntilMs = Math.max(this.#awayUntilMs, this.#nowMs + awayMs);
      for (const name of [...this.agents, ...this.nodes]) this.#trouble(name, awayMs);
      for (const each of this.#connections) each.end();
      this.#connections.clear();
    }
    return this.#nowMs < this.#awayUntilMs;
  }

  #askHealth(life: Life, address: string, timeoutMs: number): ReturnType<DeciderParts['askHealth']> {
    const name = address.split(':')[0]!;
    return this.#ask(life, 'health', name, '', timeoutMs, async () => {
      const { id, isHealthy } = await this.#node(name);
      const answer = { id, healthy: isHealthy() };
      await this.#healed([`health of ${name}`]);
      return answer;
    });
  }

  async #node(name: string): Promise<RunningNode> {
    const node = this.running.get(name);
    if (node === undefined) throw new Error(`nobody listens at ${name}`);
    await node.life.awake();
    return node;
  }

  #askAgent(life: Life, name: string, kind: 'join' | 'leave', body: object): Promise<never> {
    const answer = async (): Promise<object> => {
      await this.#healed([`requests of ${life.name}`]);
      const [agent, clock] = [this.#services.get(name), this.world.life(name)!.clock];
      if (agent === undefined) throw new Error(`nobody listens at ${name}`);
      await this.world.life(name)!.awake();
      const request = { kind, deadlineMs: askMs, ...body } as Request;
      return agent.answer({ request, deadline: clock.nowMs() + askMs, peer: life.name });
    };
    return this.#ask(life, kind, name, '', askMs, answer, answer) as Promise<never>;
  }

  #ask<T>(
    life: Life,
    kind: string,
    to: string,
    text: string,
    timeoutMs: number,
    answer: () => Promise<T>,
    copy?: () => Promise<unknown>,
  ): Promise<T> {
    const through = async (): Promise<T> => {
      await this.#passage(life.name, to);
      const result = await answer();
      await this.#passage(life.name, to);
      return result;
    };
    const work = this.#call(life, kind, to, text, through, copy);
    return inTime(life.clock, timeoutMs, work, () => new Error(`no reply within ${timeoutMs} ms`));
  }

  /** Here faults strike; without a place nothing does. */
  async #call<T>(
    life: Life,
    operation: string,
    to: string,
    text: string,
    effect: (place: string) => Promise<T>,
    copy?: () => Promise<unknown>,
  ): Promise<T> {
    if (!routine.has(operation) || ++this.#routine % routineEvery === 0)
      return life.call(
        operation,
        to,
        () => text,
        (place) => (this.#strike(life, to, place, text), effect(place)),
        copy,
      );
    await life.awake();
    try {
      return await effect('');
    } finally {
      await life.awake();
      this.world.touch();
    }
  }

  #strike(life: Life, to: string, place: string, text: string): void {
    for (const kind of cutKinds) {
      if (to === 'postgres' ? kind === 'link cut' || kind === 'heartbeats lost' : kind === 'cut from registry') continue;
      const forMs = life.strikes(kind, place, text);
      if (forMs === undefined) continue;
      this.cut(cuts[kind](life.name, to), forMs);
      for (const name of [life.name, to]) this.#trouble(name, forMs);
    }
  }

  /** Resolves when something can pass between the two. */
  #passage(one: string, other: string): Promise<void> {
    return this.#healed([one, other, between(one, other)]);
  }

  async #healed(places: readonly string[]): Promise<void> {
    const { clock } = this.world;
    for (;;) {
      const leftMs = Math.max(...places.map((place) => this.#cutUntilMs.get(place) ?? 0)) - this.#nowMs;
      if (leftMs <= 0) return;
      await sleep(clock, leftMs);
    }
  }

  /** Whoever is cut off or dead does not hear of it. */
  #notify(): void {
    for (const [name, decider] of this.#deciders) {
      const life = this.world.life(name)!;
      const isCut = [name, between(name, 'postgres')].some((place) => (this.#cutUntilMs.get(place) ?? 0) > this.#nowMs);
      if (isCut || this.#nowMs < this.#awayUntilMs) continue;
      const lateMs = life.strikes('delivered late', life.place('notification', 'topology')) ?? 1;
      life.clock.after(lateMs, () => decider.topologyChanged());
    }
  }
}

const textOf = ({ removedNodes, added, dropped }: Change): string =>
  [
    ...removedNodes.map((node) => `without ${node}`),
    ...added.map(({ area, node }) => `${area} to ${node}`),
    ...dropped.map(({ area, node }) => `${area} from ${node}`),
  ].join(', ');

/** The role's own words are the story of a failure. */
const tellerOf = (life: Life): Logger => ({
  ...silentLogger,
  info: (_: unknown, text?: string) => life.note(text ?? ''),
  warn: (fields: object, text?: string) => 'err' in fields || life.note(text ?? ''),
});
