/**
 * What PostgreSQL is to agents and nodes beside news and users, in memory: nodes, areas, assignments, and the lock of the agent that decides, which is freed
 * with the connection that holds it. It passes the contract of deciding-contract.ts, as the real one does.
 */
import type { Assignment } from '../src/domain/assignment.ts';
import type { Change, DecidingPort, KnownNode, Situation } from '../src/store/deciding.ts';
import { DatabaseUnavailableError } from '../src/store/database.ts';

export class MemoryDatabase {
  /** How many nodes each area wants. */
  readonly areas = new Map<string, number>();
  readonly nodes = new Map<string, KnownNode & { readonly leaving: boolean }>();
  assignments: readonly Assignment[] = [];
  /** The connection that has the lock. */
  holder: MemoryDeciding | undefined;
  /** That took the lock last. */
  agent = '';
  beat = 0;
  readonly #onTopology: () => void;

  /** `onTopology` is called when what assignments follow from has changed. */
  constructor(onTopology: () => void = () => undefined) {
    this.#onTopology = onTopology;
  }

  connect(): MemoryDeciding {
    return new MemoryDeciding(this);
  }

  setArea(area: string, wanted: number): void {
    this.areas.set(area, wanted);
    this.#onTopology();
  }

  removeArea(area: string): void {
    this.areas.delete(area);
    this.assignments = this.assignments.filter((each) => each.area !== area);
    this.#onTopology();
  }

  /** An address serves one node. */
  join(node: KnownNode): void {
    const before = [...this.nodes.values()].filter(({ id, address }) => address === node.address && id !== node.id);
    this.#remove(before.map(({ id }) => id));
    this.nodes.set(node.id, { ...node, leaving: this.nodes.get(node.id)?.leaving ?? false });
    this.#onTopology();
  }

  leave(id: string): void {
    const node = this.nodes.get(id);
    if (node !== undefined) this.nodes.set(id, { ...node, leaving: true });
    this.#onTopology();
  }

  apply({ removedNodes, added, dropped }: Change): void {
    this.#remove(removedNodes);
    const gone = new Set(dropped.map(nameOf));
    const kept = this.assignments.filter((each) => !gone.has(nameOf(each)));
    const known = new Set(kept.map(nameOf));
    const made = added.filter((each) => this.areas.has(each.area) && this.nodes.has(each.node) && !known.has(nameOf(each)));
    this.assignments = [...kept, ...made];
    if (removedNodes.length > 0) this.#onTopology();
  }

  #remove(ids: readonly string[]): void {
    for (const id of ids) this.nodes.delete(id);
    this.assignments = this.assignments.filter(({ node }) => !ids.includes(node));
  }
}

/** An assignment as a text. */
export const nameOf = ({ area, node }: Assignment): string => `${area} ${node}`;

/** One connection. */
export class MemoryDeciding implements DecidingPort {
  hasEnded = false;
  readonly #database: MemoryDatabase;

  constructor(database: MemoryDatabase) {
    this.#database = database;
  }

  async take(agent: string): Promise<boolean> {
    const database = this.#connected();
    if ((database.holder ??= this) !== this) return false;
    database.agent = agent;
    database.beat++;
    return true;
  }

  async seenBeat(): Promise<string> {
    return String(this.#connected().beat);
  }

  async evict(beat: string): Promise<boolean> {
    const { holder, beat: now } = this.#connected();
    if (holder === undefined || String(now) !== beat) return false;
    holder.end();
    return true;
  }

  async beat(): Promise<KnownNode[]> {
    const database = this.#connected();
    database.beat++;
    return [...database.nodes.values()].map(({ id, name, address, healthAddress }) => ({ id, name, address, healthAddress }));
  }

  async situation(): Promise<Situation> {
    const { areas, nodes, assignments } = this.#connected();
    const idsOf = (wanted: boolean): string[] =>
      [...nodes.values()].filter(({ leaving }) => leaving === wanted).map(({ id }) => id);
    return {
      areas: [...areas].map(([id, wanted]) => ({ id, wanted })),
      nodes: idsOf(false),
      leaving: idsOf(true),
      assignments,
    };
  }

  async apply(change: Change): Promise<void> {
    this.#connected().apply(change);
  }

  async close(): Promise<void> {
    this.end();
  }

  /** Whoever ends it: the lock is free. */
  end(): void {
    this.hasEnded = true;
    if (this.#database.holder === this) this.#database.holder = undefined;
  }

  #connected(): MemoryDatabase {
    if (this.hasEnded) throw new DatabaseUnavailableError('the connection has ended');
    return this.#database;
  }
}
