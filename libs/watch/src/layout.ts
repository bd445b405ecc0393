/**
 * The map: what there is, and how messages flow, as columns from left to right, derived from the recording. A call of a message by role A that comes out of queue Q at role B is an edge A, Q, B. The earlier an edge is
 * used, the more it counts: one that would close a circle is an answer, and goes back. A column is the longest way to it.
 */
import type { Instance, Model } from './model.ts';

/** More than there are events. */
const eventsMax = 1e9;

export interface MapNode {
  readonly kind: 'group' | 'queue' | 'resource';
  readonly label: string;
  /** Of a queue, where others have the same label: whose it is. */
  readonly owner?: string | undefined;
  /** Of the model: instances, queues or one resource. Queues that are alike are one node. */
  readonly members: readonly number[];
}

export interface MapEdge {
  readonly from: number;
  readonly to: number;
  /** An answer: it closes a circle. */
  readonly isBack: boolean;
  /** A call without a queue. */
  readonly isDirect: boolean;
}

export interface Flow {
  readonly nodes: readonly MapNode[];
  readonly edges: readonly MapEdge[];
  readonly columns: readonly (readonly number[])[];
  nodeOfInstance(instance: number): number;
  nodeOfQueue(queue: number): number | undefined;
  nodeOfResource(resource: number): number;
}

/** How the roles of a recording flow into each other. */
export function flowOf(model: Model): Flow {
  const nodes: MapNode[] = [];
  const groupNodes = new Map<string, number>();
  for (const [group, members] of groupsOf(model.instances))
    groupNodes.set(group, nodes.push({ kind: 'group', label: group, members }) - 1);
  const queueNodes = new Map<number, number>();
  for (const { label, owner, members } of toldApart(alikeQueues(model), model)) {
    const node = nodes.push({ kind: 'queue', label, owner, members }) - 1;
    for (const member of members) queueNodes.set(member, node);
  }
  const { flows, serves } = model.recording.live?.known ?? { flows: [], serves: {} };
  const resourceNodes = model.resources.map(
    (label, at) => groupNodes.get(serves[label] ?? label) ?? nodes.push({ kind: 'resource', label, members: [at] }) - 1,
  );
  const nodeOfInstance = (instance: number): number => groupNodes.get(model.instances[instance]!.group)!;
  const links = [...linksOf(model, nodeOfInstance, queueNodes, resourceNodes), ...knownLinks(flows, groupNodes)];
  const edges = withoutCircles(links, nodes);
  const columns = columnsOf(nodes, edges);
  return {
    nodes,
    edges,
    columns,
    nodeOfInstance,
    nodeOfQueue: (queue) => queueNodes.get(queue),
    nodeOfResource: (resource) => resourceNodes[resource]!,
  };
}

function groupsOf(instances: readonly Instance[]): ReadonlyMap<string, number[]> {
  const groups = new Map<string, number[]>();
  for (const [at, { group }] of instances.entries()) groups.set(group, [...(groups.get(group) ?? []), at]);
  const numbers = (at: number): number[] => instances[at]!.number.split('.').map(Number);
  const byNumber = (a: number, b: number): number => {
    const [left, right] = [numbers(a), numbers(b)];
    return left.map((each, place) => each - (right[place] ?? 0)).find((each) => each !== 0) ?? 0;
  };
  return new Map([...groups].map(([group, members]) => [group, members.sort(byNumber)]));
}

/** A name without what tells replicas, sessions and lives apart. */
const kindOfName = (name: string): string =>
  name
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}(-[0-9a-f-]{22})?/g, '*')
    .replaceAll(/[-.]?(\w+x)?\d+(x\d+)*/g, '')
    .replace(/\/.*$/, '');

/** Queues into which the same groups send in the same way are alike. Those that nobody uses are left out. */
function alikeQueues(model: Model): { label: string; members: number[] }[] {
  const senders = new Map<number, Set<string>>();
  const used = new Set<number>();
  for (const event of model.events) {
    if (event.type === 'delivery') used.add(model.queue(event.from)!);
    if (event.type !== 'call' || (event.call !== 'publish' && event.call !== 'append')) continue;
    const { group } = model.instances[model.instance(event.role)!]!;
    for (const queue of model.routes(event.to)) {
      used.add(queue);
      senders.set(queue, (senders.get(queue) ?? new Set()).add(`${kindOfName(event.to)} ${group}`));
    }
  }
  for (const { queues } of model.recording.live?.depths ?? [])
    for (const name of Object.keys(queues)) used.add(model.queue(name)!);
  const alike = new Map<string, number[]>();
  for (const queue of used) {
    const { name, isLog } = model.queues[queue]!;
    const sent = senders.get(queue);
    // Whoever leads may write a log anew: it is the same one.
    const ways = sent === undefined ? [`from nobody: ${kindOfName(name)}`] : isLog ? [kindOfName(name)] : [...sent].sort();
    const key = `${isLog} ${ways.join()}`;
    alike.set(key, [...(alike.get(key) ?? []), queue]);
  }
  return [...alike.values()].map((members) => ({ label: labelOf(members.map((each) => model.queues[each]!.name)), members }));
}

/** What all have in common, and of that the last word: `bike-analytics.filter-trips-1.batches` are batches. */
function labelOf(names: readonly string[]): string {
  const words = names.map((name) =>
    kindOfName(name)
      .split('.')
      .filter((word) => word !== '*' && word !== ''),
  );
  const common = words[0]!.filter((word) => words.every((each) => each.includes(word)));
  return common.at(-1) ?? words[0]!.at(-1) ?? names[0]!;
}

/** Where several have one label, with the word before it, if that is not the same for all. */
function toldApart(
  pipes: readonly { label: string; members: number[] }[],
  { queues }: Model,
): { label: string; owner: string | undefined; members: number[] }[] {
  const owned = pipes.map((pipe) => ({ ...pipe, owner: ownerOf(pipe.members.map((each) => queues[each]!.name)) }));
  const owners = Map.groupBy(owned, ({ label }) => label);
  const isTold = ({ label }: { label: string }): boolean => new Set(owners.get(label)!.map(({ owner }) => owner)).size > 1;
  return owned.map((pipe) => (isTold(pipe) ? pipe : { ...pipe, owner: undefined }));
}

/** Between the app's name and the last word, what all have in common: `trips-solver-1`, or of several `trips-solver`. */
function ownerOf(names: readonly string[]): string | undefined {
  const common = (all: readonly string[]): string | undefined => {
    const [first = [], ...others] = all.map((name) => name.split('.').slice(1, -1));
    return first.findLast((word) => !kindOfName(word).includes('*') && others.every((each) => each.includes(word)));
  };
  return common(names) ?? common(names.map(kindOfName));
}

interface Link {
  from: number;
  to: number;
  isDirect: boolean;
  /** The event that used it first. */
  first: number;
}

/** Who sends into what, and what comes out where, each once. */
function linksOf(
  model: Model,
  nodeOfInstance: (instance: number) => number,
  queueNodes: ReadonlyMap<number, number>,
  resourceNodes: readonly number[],
): Link[] {
  const links = new Map<string, Link>();
  const add = (from: number, to: number | undefined, first: number, isDirect: boolean): void => {
    if (to === undefined || from === to || links.has(`${from} ${to}`)) return;
    links.set(`${from} ${to}`, { from, to, first, isDirect });
  };
  for (const [at, event] of model.events.entries()) {
    if (event.type === 'delivery') {
      const queue = queueNodes.get(model.queue(event.from)!)!;
      const group = nodeOfInstance(model.instance(event.role)!);
      if (!links.has(`${queue} ${group}`)) links.set(`${queue} ${group}`, { from: queue, to: group, first: at, isDirect: false });
    }
    if (event.type !== 'call') continue;
    const from = nodeOfInstance(model.instance(event.role)!);
    if (event.call === 'publish' || event.call === 'append')
      for (const queue of model.routes(event.to)) add(from, queueNodes.get(queue), at, false);
    else {
      const [instance, resource] = [model.calledInstance(event.to), model.calledResource(event.to)];
      if (instance !== undefined) add(from, nodeOfInstance(instance), at, true);
      else if (resource !== undefined) add(from, resourceNodes[resource], at, true);
    }
  }
  return [...links.values()];
}

/** They count less than what is seen. */
function knownLinks(flows: readonly (readonly [string, string])[], groupNodes: ReadonlyMap<string, number>): Link[] {
  return flows.flatMap(([source, target]) => {
    const [from, to] = [groupNodes.get(source), groupNodes.get(target)];
    return from === undefined || to === undefined ? [] : [{ from, to, isDirect: true, first: eventsMax }];
  });
}

/** Those who ask are first, whoever was up first. */
const asks = /client|reader|admin/;

/** One edge after another, from the first that was used: what closes a circle goes back. */
function withoutCircles(links: readonly Link[], nodes: readonly MapNode[]): MapEdge[] {
  const next = new Map<number, number[]>();
  const leads = (from: number, to: number): boolean => from === to || (next.get(from) ?? []).some((each) => leads(each, to));
  const filled = new Map<number, number>();
  for (const { to, first } of links) filled.set(to, Math.min(first, filled.get(to) ?? Infinity));
  const rank = ({ from, first }: Link): number => {
    const { kind, label } = nodes[from]!;
    if (kind === 'group') return asks.test(label) ? first - eventsMax : first;
    // What comes out was put in before, even where the recording tells it later.
    return Math.max(first, (filled.get(from) ?? 0) + 0.5);
  };
  return [...links]
    .sort((a, b) => rank(a) - rank(b))
    .map(({ from, to, isDirect }) => {
      const isBack = leads(to, from);
      if (!isBack) next.set(from, [...(next.get(from) ?? []), to]);
      return { from, to, isDirect, isBack };
    });
}

/** Nodes by the longest way to them; a queue stands beside whoever takes from it. */
function columnsOf(nodes: readonly MapNode[], edges: readonly MapEdge[]): number[][] {
  const forward = edges.filter(({ isBack }) => !isBack);
  const depths = nodes.map(() => 0);
  for (let changed = true; changed;) {
    changed = false;
    for (const { from, to } of forward) if (depths[to]! < depths[from]! + 1) [depths[to], changed] = [depths[from]! + 1, true];
  }
  for (const [at, { kind }] of nodes.entries()) {
    const takers = forward.filter(({ from }) => from === at).map(({ to }) => depths[to]!);
    if (kind === 'queue' && takers.length > 0) depths[at] = Math.min(...takers) - 1;
  }
  const linked = new Set(edges.flatMap(({ from, to }) => [from, to]));
  const used = [...new Set([...linked].map((at) => depths[at]!))].sort((a, b) => a - b);
  const columns = used.map((depth) => nodes.flatMap((_, at) => (linked.has(at) && depths[at] === depth ? [at] : [])));
  return [...ordered(columns, forward), ...aloneOf(nodes, linked)];
}

/** So many of those that nothing is known to reach stand over each other. */
const aloneMax = 4;

/** Whoever is not heard of stands aside: engines, mostly, and in a system that has just started everybody. */
function aloneOf(nodes: readonly MapNode[], linked: ReadonlySet<number>): number[][] {
  const alone = nodes.flatMap((_, at) => (linked.has(at) ? [] : [at]));
  return Array.from({ length: Math.ceil(alone.length / aloneMax) }, (_, at) => alone.slice(at * aloneMax, (at + 1) * aloneMax));
}

/** Each column in the order of what leads into it, twice; then of what leads out of it. */
function ordered(columns: readonly number[][], forward: readonly MapEdge[]): number[][] {
  const places = new Map(columns.flatMap((column) => column.map((node, at) => [node, (at + 0.5) / column.length] as const)));
  const sort = (column: number[], near: (node: number) => number[]): void => {
    const mean = (node: number): number => {
      const around = near(node).map((each) => places.get(each)!);
      return around.length === 0 ? places.get(node)! : around.reduce((sum, each) => sum + each, 0) / around.length;
    };
    column.sort((a, b) => mean(a) - mean(b));
    for (const [at, node] of column.entries()) places.set(node, (at + 0.5) / column.length);
  };
  const before = (node: number): number[] => forward.filter(({ to }) => to === node).map(({ from }) => from);
  const behind = (node: number): number[] => forward.filter(({ from }) => from === node).map(({ to }) => to);
  const result = columns.map((column) => [...column]);
  for (const column of result.slice(1)) sort(column, before);
  for (const column of result.slice(0, -1).reverse()) sort(column, behind);
  for (const column of result.slice(1)) sort(column, before);
  return result;
}

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** A label may be wider than what stands under it, where edges begin and end. */
type Size = Pick<Box, 'width' | 'height'> & { readonly core: number };

export interface Cell extends Box {
  readonly instance: number;
}

export interface Placed {
  /** From top to bottom. */
  readonly isDown: boolean;
  readonly width: number;
  readonly height: number;
  /** By node. */
  readonly boxes: readonly Box[];
  /** By node: where its instances are. */
  readonly cells: readonly (readonly Cell[])[];
  /** By edge, as the `d` of an SVG path. */
  readonly paths: readonly string[];
}

export const cellSize = { width: 26, height: 20, gap: 5, loneWidth: 36 };
export const labelHeight = 17;
export const pipeWidth = 50;
const pipeHeight = 38;
/** Above the label of a pipe. */
const ownerHeight = 10;
/** Where a pipe begins, below its owner's name. */
export const pipeTop = ({ owner }: MapNode): number => (owner === undefined ? 0 : ownerHeight);
const resourceSize = { width: 60, height: 42, core: 34 };
/** Answers go back along the edge of the map, beside each other; from top to bottom, what passes other rows goes along the other edge. */
const backLane = 5;
const lanesMax = 8;
/** And leave a node so far from each other. */
const backStep = 2;
const margin = 14;

/** Rows and columns of a group's instances: replicas of the same first number are one row. */
function gridOf(members: readonly number[], instances: readonly Instance[]): { row: number; column: number }[] {
  const numbers = members.map((each) => instances[each]!.number.split('.'));
  if (numbers.every((number) => number.length === 2)) {
    const firsts = [...new Set(numbers.map(([first]) => first))];
    const counts = new Map<string, number>();
    return numbers.map(([first = '']) => {
      const column = counts.get(first) ?? 0;
      counts.set(first, column + 1);
      return { row: firsts.indexOf(first), column };
    });
  }
  const across = members.length <= 3 ? 1 : Math.ceil(Math.sqrt(members.length / 1.6));
  return members.map((_, at) => ({ row: Math.floor(at / across), column: at % across }));
}

/** Small maps are drawn so much larger, at most. */
const enlargements = [1.5, 1.35, 1.2, 1.1];

/** The map as large as it fits. */
export function fit(
  flow: Flow,
  instances: readonly Instance[],
  { width, height }: { width: number; height: number },
  isDown: boolean,
): Placed {
  if (isDown) return place(flow, instances, { width, height }, true);
  for (const scale of enlargements) {
    const placed = place(flow, instances, { width: width / scale, height: height / scale }, false);
    if (placed.width * scale <= width + 1 && placed.height * scale <= height + 1) return placed;
  }
  return place(flow, instances, { width, height }, false);
}

/** Where everything stands on a map so wide: columns from left to right, or on a narrow one rows from top to bottom. */
export function place(
  flow: Flow,
  instances: readonly Instance[],
  size: { width: number; height: number },
  isDown: boolean,
): Placed {
  const grids = flow.nodes.map(({ kind, members }) => (kind === 'group' ? gridOf(members, instances) : []));
  const sizes = flow.nodes.map((node, at) => sizeOf(node, grids[at]!));
  const backs = flow.edges.filter(({ isBack }) => isBack).length;
  const border = margin + Math.min(backs, lanesMax) * backLane;
  const side = margin + Math.min(backs, lanesMax) * backStep;
  const passing = isDown ? passingLanes(flow) : new Map<number, number>();
  const left = margin + Math.min(passing.size, lanesMax) * backLane;
  const placed = isDown ? placeDown(flow, sizes, size.width, left, border) : placeAcross(flow, sizes, size, border, side);
  const cells = flow.nodes.map(({ members }, at) => {
    const { x, y, width } = placed.boxes[at]!;
    const across = Math.max(0, ...grids[at]!.map(({ column }) => column)) + 1;
    const cellWidth = members.length === 1 ? cellSize.loneWidth : cellSize.width;
    const left = x + (width - across * (cellWidth + cellSize.gap) + cellSize.gap) / 2;
    return grids[at]!.map(({ row, column }, nth) => ({
      instance: members[nth]!,
      x: left + column * (cellWidth + cellSize.gap),
      y: y + labelHeight + row * (cellSize.height + cellSize.gap),
      width: cellWidth,
      height: cellSize.height,
    }));
  });
  return { ...placed, isDown, cells, paths: pathsOf(flow, placed, sizes, isDown, passing) };
}

/** About as wide as a letter of the map's labels. */
const letterWidth = 6.1;
const ownerLetterWidth = 5;

function sizeOf(node: MapNode, grid: readonly { row: number; column: number }[]): Size {
  const { kind, label, owner = '' } = node;
  if (kind === 'queue') {
    const width = Math.max(pipeWidth, owner.length * ownerLetterWidth);
    return { width, height: pipeHeight + pipeTop(node), core: pipeWidth };
  }
  if (kind === 'resource') return { ...resourceSize, width: Math.max(resourceSize.width, label.length * letterWidth) };
  const [rows, across] = [Math.max(...grid.map(({ row }) => row)) + 1, Math.max(...grid.map(({ column }) => column)) + 1];
  const core = grid.length === 1 ? cellSize.loneWidth : across * (cellSize.width + cellSize.gap) - cellSize.gap;
  return {
    core,
    width: Math.max(core, label.length * letterWidth),
    height: labelHeight + rows * (cellSize.height + cellSize.gap) - cellSize.gap,
  };
}

type Sizes = readonly Size[];
type Boxes = Pick<Placed, 'width' | 'height' | 'boxes'>;

/** So far a label reaches over the column that it stands in. */
const overhang = 14;

const within = (value: number, min: number, max: number): number => Math.max(min, Math.min(max, value));

function placeAcross(
  { columns }: Flow,
  sizes: Sizes,
  { width, height }: { width: number; height: number },
  border: number,
  side: number,
): Boxes {
  // Labels reach a little into the gaps between columns, but not over the edges of the map.
  const reach = (at: number): number => (at === 0 || at === columns.length - 1 ? 0 : 2 * overhang);
  const widths = columns.map((column, at) =>
    Math.max(...column.map((node) => Math.max(sizes[node]!.core, sizes[node]!.width - reach(at)))),
  );
  const used = widths.reduce((sum, each) => sum + each, 0);
  const gap = within((width - 2 * side - used) / Math.max(1, columns.length - 1), 24, 190);
  const total = used + gap * (columns.length - 1);
  const tallest = Math.max(
    0,
    ...columns.map((column) => column.reduce((sum, node) => sum + sizes[node]!.height, 0) + (column.length - 1) * 12),
  );
  const inner = Math.max(tallest, Math.min(tallest * 1.5, height - border - margin));
  const boxes: Box[] = [];
  let x = Math.max(side, (width - total) / 2);
  for (const [at, column] of columns.entries()) {
    const heights = column.reduce((sum, node) => sum + sizes[node]!.height, 0);
    const between = within((inner - heights) / (column.length + 1), 12, 44);
    let y = border + (inner - heights - between * (column.length - 1)) / 2;
    for (const node of column) {
      const { width: own, height: tall } = sizes[node]!;
      boxes[node] = { x: x + (widths[at]! - own) / 2, y, width: own, height: tall };
      y += tall + between;
    }
    x += widths[at]! + gap;
  }
  return { width: Math.max(width, total + 2 * side), height: inner + border + margin, boxes };
}

/** Whose edges pass other rows on their way down, and in which lane. */
function passingLanes({ columns, edges }: Flow): ReadonlyMap<number, number> {
  const rows = new Map(columns.flatMap((column, row) => column.map((node) => [node, row] as const)));
  const passing = edges.filter(({ from, to, isBack }) => !isBack && rows.get(to)! - rows.get(from)! > 1);
  return new Map([...new Set(passing.map(({ from }) => from))].map((from, at) => [from, at % lanesMax]));
}

function placeDown({ columns }: Flow, sizes: Sizes, width: number, left: number, border: number): Boxes {
  const boxes: Box[] = [];
  const room = width - left - border;
  // Over the first row answers come back.
  let y = margin + 12;
  for (const column of columns) {
    for (let rest = [...column]; rest.length > 0;) {
      // As many beside each other as there is room for.
      const wide = (nodes: readonly number[]): number => nodes.reduce((sum, node) => sum + sizes[node]!.width, 0);
      let count = 1;
      while (count < rest.length && wide(rest.slice(0, count + 1)) + count * 14 <= room) count++;
      const line = rest.slice(0, count);
      rest = rest.slice(count);
      const gap = Math.min(48, (room - wide(line)) / (count + 1));
      let x = left + (room - wide(line) - gap * (count - 1)) / 2;
      for (const node of line) {
        boxes[node] = { x, y, width: sizes[node]!.width, height: sizes[node]!.height };
        x += sizes[node]!.width + gap;
      }
      y += Math.max(...line.map((node) => sizes[node]!.height)) + 12;
    }
    y += 10;
  }
  return { width, height: y, boxes };
}

function pathsOf(
  { edges, nodes, columns }: Flow,
  { boxes, width }: Boxes,
  sizes: Sizes,
  isDown: boolean,
  passing: ReadonlyMap<number, number>,
): string[] {
  const core = (node: number): Box => {
    const [box, own] = [boxes[node]!, sizes[node]!.core];
    return { ...box, x: box.x + (box.width - own) / 2, width: own };
  };
  const middles = edges.map(({ from, to }) => (isDown ? downEnds : acrossEnds)(core(from), core(to), nodes[from]!, nodes[to]!));
  /** Below all that stand beside a node. */
  const underRow = (node: number): number =>
    Math.max(...boxes.flatMap((box, at) => (box.y === boxes[node]!.y ? [bottomOf(box, nodes[at]!)] : [])));
  const rowOf = (node: number): number => columns.findIndex((column) => column.includes(node));
  let backs = 0;
  return edges.map(({ from, to, isBack }, at) => {
    const [x1, y1, x2, y2] = middles[at]!;
    const lane = passing.get(from);
    if (!isBack && lane !== undefined && rowOf(to) - rowOf(from) > 1) {
      // Over the label of where it ends.
      const [left, under, over] = [6 + lane * backLane, underRow(from) + 5 + lane * 1.5, boxes[to]!.y - 3 - lane * 1.5];
      return rounded([x1, y1], [x1, under], [left, under], [left, over], [x2, over], [x2, y2]);
    }
    if (!isBack) {
      const bend = Math.max(12, (isDown ? y2 - y1 : x2 - x1) / 2);
      return isDown
        ? `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`
        : `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
    }
    const nth = backs++ % lanesMax;
    const out = 8 + nth * backStep;
    if (isDown) {
      const right = width - 4 - nth * backLane;
      const under = underRow(from) + out;
      return rounded([x1, y1], [x1, under], [right, under], [right, y2 - out], [x2, y2 - out], [x2, y2]);
    }
    // Just over what it passes.
    const passed = boxes.filter(({ x, width: own }) => x < Math.max(x1, x2) + out && x + own > Math.min(x1, x2) - out);
    const top = Math.max(4, Math.min(...passed.map(({ y }) => y)) - 8 - nth * backLane);
    return rounded([x1, y1], [x1 + out, y1], [x1 + out, top], [x2 - out, top], [x2 - out, y2], [x2, y2]);
  });
}

type Point = readonly [x: number, y: number];

/** A line through these points, with round corners. */
function rounded(first: Point, ...points: readonly Point[]): string {
  const cornerMax = 9;
  let path = `M${first.join(' ')}`;
  let before = first;
  for (const [at, point] of points.entries()) {
    const next = points[at + 1];
    if (next === undefined) return `${path}L${point.join(' ')}`;
    const towards = (end: Point): Point => {
      const length = Math.hypot(end[0] - point[0], end[1] - point[1]) || 1;
      const share = Math.min(cornerMax, length / 2) / length;
      return [point[0] + (end[0] - point[0]) * share, point[1] + (end[1] - point[1]) * share];
    };
    path += `L${towards(before).join(' ')}Q${point.join(' ')} ${towards(next).join(' ')}`;
    before = point;
  }
  return path;
}

/** The middle of what is drawn: under the label of a group or a queue. */
function middle({ y, height }: Box, node: MapNode): number {
  if (node.kind === 'group') return y + labelHeight + (height - labelHeight) / 2;
  return node.kind === 'queue' ? y + pipeTop(node) + 19 : y + height / 2;
}

const acrossEnds = (a: Box, b: Box, from: MapNode, to: MapNode): [number, number, number, number] => [
  a.x + a.width,
  middle(a, from),
  b.x,
  middle(b, to),
];

/** Of what is drawn: beside a pipe there is its number. */
const bottomOf = (box: Box, node: MapNode): number => box.y + (node.kind === 'queue' ? pipeTop(node) + 25 : box.height);

const downEnds = (a: Box, b: Box, from: MapNode, to: MapNode): [number, number, number, number] => [
  a.x + a.width / 2,
  bottomOf(a, from),
  b.x + b.width / 2,
  to.kind === 'queue' ? b.y + pipeTop(to) + 13 : b.y,
];
