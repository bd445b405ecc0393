/**
 * Which node serves which area: sticky, least loaded, ties in rendezvous order (highest random weight; Thaler and Ravishankar, "Using name-based
 * mappings to increase hit rates", 1998). The plan follows from the areas, the live nodes and the assignments so far, in whatever order they are given,
 * so an agent that takes over decides as the one before it would have.
 */

export interface Area {
  readonly id: string;
  /** How many nodes are to serve it: a whole number, at least 1. */
  readonly wanted: number;
}

export interface Assignment {
  readonly area: string;
  readonly node: string;
}

/**
 * All assignments from now on, sorted by area and node. Areas have distinct ids. `current` may name areas and nodes that are gone, and more nodes than an area wants.
 *
 * Promised, whatever `current` is:
 * - An area is on min(wanted, live nodes) distinct nodes.
 * - No node carries more than ceil(mean) areas, or ceil(mean) + 1 where some area wants several nodes. Balancing ends no sooner, and never
 *   gets stuck: of two nodes, the one with more areas has one that the other lacks.
 * - A plan is its own plan: where nothing has changed, nothing moves.
 *
 * Promised from the first plan on, where every area wants one node: a node that joins or leaves moves at most ceil(assignments / nodes before) areas. Loads
 * are within 1 of each other; a leaver's areas, at most ceil(mean), go to the least loaded, which keeps them so; a joiner takes one at a time
 * from the fullest until it has floor(mean).
 *
 * Tested, not proven, where areas want several nodes: the same bound, and for a leaver that carried more, what it carried. The proof for a joiner holds
 * while loads are within 1. That for a leaver does not: its areas may be on the very nodes that have room. Therefore areas of few places are
 * spread evenly on their own (see `narrowLoad`), new places are given along alternating paths, and balancing stops at the bound where
 * it may. An admin who removes areas until those left are on a few sets of nodes can break it: 9 on a and b, 9 on c and d.
 */
export function plan(areas: readonly Area[], nodes: readonly string[], current: readonly Assignment[]): Assignment[] {
  const draft = new Draft(areas, nodes);
  const before = distinct(current);
  for (const { area, node } of before) if (draft.serving.has(area) && draft.isLive(node)) draft.put(area, node);
  for (const area of draft.serving.keys()) while (draft.missing(area) < 0) dropPlace(draft, area);
  for (const area of draft.serving.keys()) while (draft.missing(area) > 0) addPlace(draft, area);
  balance(draft, movesAllowed(areas, draft.nodes, before) - draft.given());
  return draft.assignments();
}

/** As many as it takes where areas have changed or a node is new; the bound where nodes have left and that is all; none where nothing has changed. */
function movesAllowed(areas: readonly Area[], nodes: readonly string[], before: readonly Assignment[]): number {
  const nodesBefore = new Set(before.map(({ node }) => node));
  if (nodes.some((node) => !nodesBefore.has(node))) return Infinity;
  const serving = Map.groupBy(before, ({ area }) => area);
  const sameAreas = areas.every(({ id, wanted }) => serving.get(id)?.length === Math.min(wanted, nodesBefore.size));
  if (!sameAreas || serving.size > areas.length) return Infinity;
  return nodesBefore.size > nodes.length ? Math.ceil(before.length / nodesBefore.size) : 0;
}

class Draft {
  readonly nodes: readonly string[];
  /** The nodes of each area. */
  readonly serving = new Map<string, Set<string>>();
  /** The areas that this plan has given to each node: to give them to another instead is no move. */
  readonly fresh: ReadonlyMap<string, Set<string>>;
  readonly #places = new Map<string, number>();
  /** For each node, how many of its areas have at most 0, 1, 2 … places. */
  readonly #loads: ReadonlyMap<string, number[]>;

  constructor(areas: readonly Area[], nodes: readonly string[]) {
    this.nodes = [...new Set(nodes)].toSorted();
    this.fresh = new Map(this.nodes.map((node) => [node, new Set()]));
    this.#loads = new Map(this.nodes.map((node) => [node, new Array<number>(this.nodes.length + 1).fill(0)]));
    const wanted = new Map(areas.map((area) => [area.id, area.wanted]));
    for (const area of [...wanted.keys()].toSorted()) {
      this.serving.set(area, new Set());
      this.#places.set(area, Math.min(wanted.get(area)!, this.nodes.length));
    }
  }

  isLive(node: string): boolean {
    return this.fresh.has(node);
  }

  /** Places that the area has not got yet; below 0, how many it has too many. */
  missing(area: string): number {
    return this.#places.get(area)! - this.serving.get(area)!.size;
  }

  put(area: string, node: string): void {
    this.serving.get(area)!.add(node);
    this.#count(area, node, 1);
  }

  take(area: string, node: string): void {
    this.serving.get(area)!.delete(node);
    this.fresh.get(node)!.delete(area);
    this.#count(area, node, -1);
  }

  load(node: string): number {
    return this.#loads.get(node)!.at(-1)!;
  }

  /**
   * How many areas with no more places than `area` the node serves. An area that is on nearly all nodes has no choice when one of them leaves: it weighs on
   * those that it lacks. So the areas of few places should be spread evenly for themselves, not fill what those of many left.
   */
  narrowLoad(node: string, area: string): number {
    return this.#loads.get(node)![this.#places.get(area)!]!;
  }

  /** How many places this plan has given so far. */
  given(): number {
    return [...this.fresh.values()].reduce((sum, areas) => sum + areas.size, 0);
  }

  wantsSeveral(): boolean {
    return [...this.#places.values()].some((places) => places > 1);
  }

  lacking(area: string): string[] {
    return this.nodes.filter((node) => !this.serving.get(area)!.has(node));
  }

  assignments(): Assignment[] {
    return [...this.serving].flatMap(([area, nodes]) => [...nodes].toSorted().map((node) => ({ area, node })));
  }

  #count(area: string, node: string, change: 1 | -1): void {
    const loads = this.#loads.get(node)!;
    for (let places = this.#places.get(area)!; places < loads.length; places++) loads[places]! += change;
  }
}

function dropPlace(draft: Draft, area: string): void {
  const node = least(
    [...draft.serving.get(area)!].toSorted(),
    (node) => -draft.load(node),
    (node) => -draft.narrowLoad(node, area),
    (node) => weight(area, node),
  );
  draft.take(area, node!);
}

/**
 * The area goes to the least loaded node that can be reached: it lacks the area, or it can take a fresh area off a node that can be reached. So the fresh
 * areas are spread as evenly as the settled ones allow (optimal semi-matching; Harvey, Ladner, Lovász and Tamir, 2003).
 */
function addPlace(draft: Draft, area: string): void {
  const free = draft.lacking(area);
  const nearest = least(
    free,
    (node) => draft.load(node),
    (node) => draft.narrowLoad(node, area),
    (node) => -weight(area, node),
  )!;
  const via = new Map<string, Assignment>();
  if (draft.nodes.some((node) => draft.load(node) < draft.load(nearest))) exploreFresh(draft, free, via);
  let node = least([nearest, ...via.keys()], (node) => draft.load(node))!;
  for (let step = via.get(node); step !== undefined; step = via.get(node)) {
    draft.take(step.area, step.node);
    give(draft, step.area, node);
    node = step.node;
  }
  give(draft, area, node);
}

/** Notes in `via`, for each node beyond the `free` ones, which fresh area it could take off which node; breadth first. */
function exploreFresh(draft: Draft, free: readonly string[], via: Map<string, Assignment>): void {
  const seen = new Set(free);
  for (const node of seen) {
    for (const area of [...draft.fresh.get(node)!].toSorted()) {
      for (const next of draft.lacking(area)) {
        if (!seen.has(next)) via.set(next, { area, node });
        seen.add(next);
      }
    }
  }
}

function give(draft: Draft, area: string, node: string): void {
  draft.put(area, node);
  draft.fresh.get(node)!.add(area);
}

/** Moves areas from the fullest to the emptiest node until they are within 1, or within what is promised when no more moves are left. */
function balance(draft: Draft, moves: number): void {
  const { nodes } = draft;
  const mean = nodes.reduce((sum, node) => sum + draft.load(node), 0) / nodes.length;
  const loadMax = Math.ceil(mean) + (draft.wantsSeveral() ? 1 : 0);
  for (; nodes.length > 0; moves--) {
    const full = least(nodes, (node) => -draft.load(node))!;
    const empty = least(nodes, (node) => draft.load(node))!;
    if (draft.load(full) - draft.load(empty) < 2 || (moves <= 0 && draft.load(full) <= loadMax)) return;
    moveOne(draft, full, empty);
  }
}

function moveOne(draft: Draft, full: string, empty: string): void {
  const movable = [...draft.serving].filter(([, nodes]) => nodes.has(full) && !nodes.has(empty)).map(([area]) => area);
  const area = least(
    movable,
    (area) => draft.narrowLoad(empty, area) - draft.narrowLoad(full, area),
    (area) => -weight(area, empty),
  )!;
  draft.take(area, full);
  draft.put(area, empty);
}

/** The first of those for which the first measure is least, among them the second, and so on. */
function least<T>(items: readonly T[], ...measures: ((item: T) => number)[]): T | undefined {
  let rest = items;
  for (const measure of measures) {
    if (rest.length < 2) break;
    const values = rest.map(measure);
    const low = Math.min(...values);
    rest = rest.filter((_, index) => values[index] === low);
  }
  return rest[0];
}

function distinct(assignments: readonly Assignment[]): Assignment[] {
  return [...new Map(assignments.map((pair) => [`${pair.area}\0${pair.node}`, pair])).values()];
}

/** How much the area is drawn to the node: 32 bits, FNV-1a over UTF-16 units and the finalizer of MurmurHash3 (Appleby), for FNV alone changes little on the last letter. */
export function weight(area: string, node: string): number {
  let hash = 0x811c9dc5;
  const text = `${area}\0${node}`;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
