/**
 * Agents and nodes under faults, in simulated time: whatever dies, hangs or is cut off, one agent decides, no area moves without need, and in the end every area is on living nodes. The model is
 * consortium-model.ts. What is in SQL, as sessions, news and leases, is for the histories of kills.embedded.test.ts.
 */
import { sleep } from '@lab/process';
import { processKinds, type SimulatedSystem, type World } from '@lab/simulation';
import type { Area, Assignment } from '../src/domain/assignment.ts';
import { ConsortiumModel, modelKinds, type Writing } from './consortium-model.ts';
import { nameOf } from './memory-database.ts';

interface Load {
  readonly [name: string]: number;
  readonly agents: number;
  readonly nodes: number;
  readonly areas: number;
  /** An area wants so many nodes at the most. */
  readonly wanted: number;
  /** Of areas, by administrators. */
  readonly changes: number;
  /** How many nodes stop in good order. */
  readonly stops: number;
  /** Which fault there is alone, in the end, for the times that are promised; 0: none. */
  readonly drill: number;
}

const faultsForMs = 15_000;

export const simulatedConsortium: SimulatedSystem<Load> = {
  name: 'news-consortium',
  kinds: [...processKinds, 'twice', 'lands late', ...modelKinds],
  workload: (random) => ({
    agents: random.integer(1, 3),
    nodes: random.integer(1, 4),
    areas: random.integer(1, 8),
    wanted: random.pick([1, 1, 2, 5]),
    changes: random.integer(0, 6),
    stops: random.integer(0, 2),
    drill: random.integer(0, drills.length),
  }),
  least: { agents: 1, nodes: 1, areas: 1, wanted: 1, changes: 0, stops: 0, drill: 0 },
  faultsForMs,
  // A copy of a request may land until then, and what it does is undone.
  settleMs: 40_000,
  liveness: 'When all is repaired, every area is on as many living nodes as it wants',
  promises: [
    'One decides as long as it lives',
    'One decides',
    'Every area is on as many nodes as it wants, or on all',
    'A node that answers keeps its areas',
    'A node that joins or leaves moves its share',
    'Where nothing has changed, nothing moves',
    'An agent registers only what it can reach',
    'An agent that is cut off takes nothing from nodes',
    'Others serve what a killed node served',
    'Others serve what a node that hangs served',
    'Others serve what a node served that is another one now',
    'Others serve what a node served that leaves',
    'Another agent decides where one was killed',
    'Another agent decides where one hangs',
    'Another agent decides where one finds all nodes dead',
  ],
  prepare: async (load) => async (world) => {
    const run = new Run(world, load);
    await Promise.race([run.run(load), run.model.broken.promise]);
  },
};

/** Whatever happened to a node or the agent is felt for so long: failed checks, a late statement, a connection that is made anew. */
const feltMs = 10_000;
/** In which nothing may move when all is well. */
const calmMs = 10_000;

/** What areas wanted and which nodes stayed when they were planned, and the outcome. */
interface Planned {
  readonly areas: readonly Area[];
  readonly staying: readonly string[];
  readonly assignments: readonly Assignment[];
}

class Run {
  readonly model: ConsortiumModel;
  readonly #world: World;
  readonly #random;
  readonly #wantedMax: number;
  #planned: Planned | undefined;

  constructor(world: World, { agents, nodes, wanted }: Load) {
    this.#world = world;
    this.#random = world.random.fork('administrators');
    this.#wantedMax = wanted;
    this.model = new ConsortiumModel(world, { agents, nodes }, (writing) => this.#judge(writing));
  }

  async run({ areas, changes, stops, drill }: Load): Promise<void> {
    for (let area = 1; area <= areas; area++) this.#setArea(`area-${area}`);
    this.#now(changes, () => this.#change(areas));
    this.#now(stops, () => void this.#stop(this.#random.pick(this.model.nodes)));
    await this.#settled();
    await this.#rest(feltMs);
    await this.#settled();
    await this.#keepsStill();
    await drills[drill - 1]?.(this);
    await this.#settled();
  }

  /** So often in the time of faults. */
  #now(times: number, act: () => void): void {
    for (let time = 1; time <= times; time++) this.#world.clock.after(this.#random.integer(1, faultsForMs), act);
  }

  #setArea(area: string): void {
    this.model.database.setArea(area, this.#random.integer(1, this.#wantedMax));
  }

  #change(areas: number): void {
    const area = `area-${this.#random.integer(1, areas + 2)}`;
    if (this.#random.chance(0.4)) this.model.database.removeArea(area);
    else this.#setArea(area);
  }

  /** In good order; it starts again. */
  async #stop(name: string): Promise<void> {
    const node = this.model.running.get(name);
    await node?.membership.leave();
    node?.life.die(this.#random.integer(100, 3_000));
  }

  async #settled(): Promise<void> {
    await this.#world.healed();
    await this.#world.when(() => this.model.database.holder !== undefined && this.isServedBy(this.model.nodes));
  }

  /** Whether these nodes, and no others, serve all areas. */
  isServedBy(names: readonly string[]): boolean {
    const { database, running } = this.model;
    const ids = names.map((name) => running.get(name)?.id);
    const known = [...database.nodes.keys()];
    if (known.length !== ids.length || !known.every((id) => ids.includes(id))) return false;
    const areas = [...database.areas].map(([id, wanted]) => ({ id, wanted }));
    return misfitOf({ areas, staying: known, assignments: database.assignments }) === undefined;
  }

  #rest(ms: number): Promise<void> {
    const { clock } = this.#world;
    return sleep(clock, ms);
  }

  async #keepsStill(): Promise<void> {
    const { model } = this;
    const [writes, holder] = [model.writes, model.database.holder];
    await this.#rest(calmMs);
    if (model.writes !== writes) model.fail('Where nothing has changed, nothing moves', 'assignments were written');
    if (model.database.holder !== holder) model.fail('One decides as long as it lives', 'another one took the lock');
  }

  /** What the deciding agent writes, before it is. */
  #judge({ agent, connection, situation, isOutdated, change }: Writing): void {
    const { model } = this;
    if (model.database.holder !== connection) model.fail('One decides', `${agent} writes without the lock`);
    if (isOutdated) model.fail('One decides', `${agent} writes on what another one has changed`);
    const removed = new Set(change.removedNodes);
    for (const id of removed) this.#judgeRemoval(agent, id);
    const dropped = new Set(change.dropped.map(nameOf));
    const kept = situation.assignments.filter((each) => !removed.has(each.node) && !dropped.has(nameOf(each)));
    const planned: Planned = {
      areas: situation.areas,
      staying: situation.nodes.filter((id) => !removed.has(id)),
      assignments: [...kept, ...change.added],
    };
    const misfit = misfitOf(planned);
    if (misfit !== undefined) model.fail('Every area is on as many nodes as it wants, or on all', `${agent}: ${misfit}`);
    this.#judgeMoves(situation.assignments, planned);
    this.#planned = planned;
  }

  /** It leaves, it has ended, or something has happened. */
  #judgeRemoval(agent: string, id: string): void {
    const node = this.model.database.nodes.get(id);
    if (node === undefined || node.leaving || this.model.running.get(node.name)?.id !== id) return;
    if (this.model.undisturbedMs(agent, node.name) > feltMs)
      this.model.fail('A node that answers keeps its areas', `${agent} removes ${node.name}`);
  }

  /** The share of a node that came or went alone moves, and nothing else. What was changed by others since is not judged. */
  #judgeMoves(before: readonly Assignment[], { areas, staying, assignments }: Planned): void {
    const last = this.#planned;
    if (
      last === undefined ||
      textOf(areas.map(({ id, wanted }) => `${id} ${wanted}`)) !== textOf(last.areas.map(({ id, wanted }) => `${id} ${wanted}`))
    )
      return;
    if (textOf(before.map(nameOf)) !== textOf(last.assignments.map(nameOf))) return;
    const nodes = new Set([...last.staying, ...staying]);
    const changes = 2 * nodes.size - last.staying.length - staying.length;
    const known = new Set(before.map(nameOf));
    const moved = assignments.filter((each) => !known.has(nameOf(each))).length - Math.max(0, assignments.length - before.length);
    if (changes === 0 && moved > 0) this.model.fail('Where nothing has changed, nothing moves', `${moved} have moved`);
    const share = Math.ceil(before.length / last.staying.length);
    if (changes === 1 && last.staying.length > 0 && areas.every(({ wanted }) => wanted === 1) && moved > share)
      this.model.fail('A node that joins or leaves moves its share', `${moved} have moved, not ${share} at the most`);
  }

  /** Of one that decides. */
  get decider(): string {
    return this.model.database.agent;
  }

  async within(ms: number, what: string, isSo: () => boolean): Promise<void> {
    await this.#rest(ms);
    if (!isSo()) this.model.fail(`${what} within ${ms / 1_000} s`, `not so at ${this.#world.clock.nowMs()} ms`);
  }
}

/** The area that is not where it should be; undefined where all are. */
function misfitOf({ areas, staying, assignments }: Planned): string | undefined {
  const serving = Map.groupBy(assignments, ({ area }) => area);
  const misfit = areas.find(({ id, wanted }) => {
    const nodes = new Set(serving.get(id)?.map(({ node }) => node));
    return nodes.size !== Math.min(wanted, staying.length) || [...nodes].some((node) => !staying.includes(node));
  });
  if (misfit !== undefined)
    return `${misfit.id}, which wants ${misfit.wanted}, is on ${serving.get(misfit.id)?.map(nameOf).join()}`;
  return serving.size > areas.length ? 'an area that is gone is served' : undefined;
}

const textOf = (items: readonly string[]): string => items.toSorted().join();

/** Longer than what is promised of the time. */
const awayMs = 12_000;

/** One fault alone, while all else is well. */
const drills: readonly ((run: Run) => Promise<void>)[] = [
  async (run) => {
    const [gone, ...others] = run.model.nodes;
    run.model.running.get(gone!)!.life.die(awayMs);
    await run.within(1_000, 'Others serve what a killed node served', () => run.isServedBy(others));
  },
  async (run) => {
    const [gone, ...others] = run.model.nodes;
    run.model.running.get(gone!)!.life.pause(awayMs);
    await run.within(2_000, 'Others serve what a node that hangs served', () => run.isServedBy(others));
  },
  async (run) => {
    const { decider, model } = run;
    if (model.agents.length < 2) return;
    model.world.life(decider)!.die(awayMs);
    await run.within(1_000, 'Another agent decides where one was killed', () => run.decider !== decider);
  },
  async (run) => {
    const { decider, model } = run;
    if (model.agents.length < 2) return;
    model.world.life(decider)!.pause(awayMs);
    await run.within(2_000, 'Another agent decides where one hangs', () => run.decider !== decider);
  },
  async (run) => {
    const { decider, model } = run;
    if (model.agents.length < 2 || model.nodes.length < 2) return;
    const { writes } = model;
    for (const node of model.nodes) model.cutLink(decider, node, awayMs);
    await run.within(awayMs, 'Another agent decides where one finds all nodes dead', () => run.decider !== decider);
    if (model.writes !== writes) model.fail('An agent that is cut off takes nothing from nodes', 'assignments were written');
  },
  async (run) => {
    const [gone, ...others] = run.model.nodes;
    run.model.cut(`requests of ${gone}`, awayMs);
    run.model.running.get(gone!)!.life.die(10);
    await run.within(1_000, 'Others serve what a node served that is another one now', () => run.isServedBy(others));
  },
  async (run) => {
    const [leaver, ...others] = run.model.nodes;
    if (others.length === 0) return;
    const { life, membership } = run.model.running.get(leaver!)!;
    const leaving = membership.leave();
    await run.within(1_500, 'Others serve what a node served that leaves', () => run.isServedBy(others));
    await leaving;
    life.die(awayMs);
  },
];
