/** The map: roles from left to right, a box an instance, queues between, dots that travel. */
import type { VNode } from 'preact';
import { useMemo, useRef } from 'preact/hooks';
import { fit, labelHeight, pipeTop, pipeWidth, type Cell, type MapNode, type Placed } from '../layout.ts';
import { depthOf, statusOf, type InstanceState, type State, type Status } from '../model.ts';
import { after } from '../scale.ts';
import { depthText, holdsText } from '../journey.ts';
import { useSize, type Choice, type Run, type Time } from './app.tsx';
import { laneMax } from './drawing.ts';
import { crownPath } from './icons.tsx';

interface Props {
  run: Run;
  state: State;
  ms: number;
  time: Time;
  choice: Choice;
  choose: (choice: Choice) => void;
}

/** Positions for which a dot is on its way along an edge, and an edge glows. */
const flightLength = 5;
/** Narrower, the map goes from top to bottom. */
const narrow = 640;

const words: Record<Status, string> = {
  absent: 'not started',
  up: 'alive',
  dead: 'dead',
  hung: 'hung',
  asleep: 'asleep, its clock too',
  cut: 'cut off',
  slow: 'slow',
};

export function SystemMap(props: Props): VNode {
  const { run, time } = props;
  const [ref, { width }] = useSize();
  const isDown = width < narrow;
  // What the lanes leave, where they are few.
  const lanes = run.model.instances.length;
  const [least, left] = [
    innerHeight * (lanes > 20 ? 0.355 : 0.44),
    Math.min(innerHeight * 0.58, innerHeight - 245 - lanes * laneMax),
  ];
  const height = isDown ? 0 : Math.max(220, least, left);
  const placed = useMemo(
    () => fit(run.flow, run.model.instances, { width: Math.max(320, width), height }, isDown),
    [run, width, height, isDown],
  );
  const edges = useEdges(props);
  const pathElements = useRef<(SVGPathElement | null)[]>([]);
  const lines = useMemo(
    () =>
      placed.paths.map((path, at) => (
        <path
          key={at}
          d={path}
          class={`edge${run.flow.edges[at]!.isDirect ? ' direct' : ''}`}
          ref={(element) => void (pathElements.current[at] = element)}
        />
      )),
    [placed],
  );
  const fromKeyboard = (event: KeyboardEvent): void => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (by === undefined || !(event.target as Element).matches('.inst, .pipe')) return;
    event.preventDefault();
    event.stopPropagation();
    const all = [...(event.currentTarget as Element).querySelectorAll<SVGElement>('.inst, .pipe')];
    const next = all[(all.indexOf(event.target as SVGElement) + by + all.length) % all.length];
    next?.focus();
  };
  return (
    <section id="map" aria-label="Map of the system">
      <div class="bar">
        <h2>Map</h2>
        {props.state.engineAwayMs > props.ms && <span class="away">broker or registry away</span>}
        <Legend />
      </div>
      <div class="fit" ref={ref}>
        <svg
          viewBox={`0 0 ${placed.width} ${placed.height}`}
          width="100%"
          height={isDown ? undefined : height}
          role="group"
          aria-label="Roles, in the order in which messages flow; arrow keys move between them"
          onKeyDown={fromKeyboard}
        >
          <defs>
            <pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
              <path d="M0 0v5" class="s-hatch" />
            </pattern>
          </defs>
          <g class={'message' in (props.choice ?? {}) ? 'edges quiet' : 'edges'}>{lines}</g>
          {edges.map(({ edge, kind, strength }) => (
            <path
              key={`${edge}${kind}`}
              d={placed.paths[edge]!}
              class={`lit ${kind}${run.flow.edges[edge]!.isBack ? ' back' : ''}`}
              style={{ opacity: strength }}
            />
          ))}
          {run.flow.nodes.map((node, at) => (
            <Node key={at} node={node} at={at} placed={placed} {...props} />
          ))}
          <Dots run={run} time={time} elements={pathElements.current} />
        </svg>
      </div>
    </section>
  );
}

const Legend = (): VNode => (
  <div class="legend" aria-hidden="true">
    <span>
      <svg viewBox="0 0 14 12">
        <circle cx="7" cy="6" r="3.6" class="f-data" />
      </svg>
      message
    </span>
    {(
      [
        ['up', 'alive'],
        ['busy', 'at work'],
        ['dead', 'dead'],
        ['hung', 'hung'],
        ['cut', 'cut off'],
        ['slow', 'slow, lossy, disk full, wrong clock'],
      ] as const
    ).map(([kind, text]) => (
      <span key={kind} class={`inst ${kind}`}>
        <svg viewBox="0 0 14 12">
          <rect class="x" x="0.5" y="1" width="13" height="10" rx="3" />
        </svg>
        {text}
      </span>
    ))}
    <span>
      <svg viewBox="0 0 14 12">
        <path d={crownPath(2.5, 5)} class="crown" />
      </svg>
      leads
    </span>
    <span>
      <svg viewBox="0 0 22 12" class="wide">
        <rect x="0.5" y="2.5" width="21" height="7" rx="3.5" class="tube" />
        <rect x="12" y="3.5" width="5" height="5" class="held" />
        <rect x="17" y="3.5" width="3.5" height="5" class="ready" />
      </svg>
      held, ready
    </span>
    <span>
      <svg viewBox="0 0 14 12">
        <path class="flag" d="M2 0.5h9l-2.6 3.4 2.6 3.4h-7.4v5H2z" />
      </svg>
      fault
    </span>
    <span>
      <svg viewBox="0 0 12 12">
        <path class="f-note" d="M6 1.5L10.5 6L6 10.5L1.5 6Z" />
      </svg>
      says
    </span>
  </div>
);

interface LitEdge {
  edge: number;
  kind: 'now' | 'chosen' | 'ahead';
  strength: number;
}

/** Edges that messages have just passed, and those of the chosen message. */
function useEdges({ run: { flow, model, scale }, time: { count, position }, choice }: Props): LitEdge[] {
  const byEnds = useMemo(() => new Map(flow.edges.map(({ from, to }, at) => [`${from} ${to}`, at])), [flow]);
  const edgesOf = (event: number): number[] => {
    const each = model.events[event]!;
    if (each.type !== 'call' && each.type !== 'delivery') return [];
    const group = flow.nodeOfInstance(model.instance(each.role)!);
    const ends =
      each.type === 'delivery'
        ? [`${flow.nodeOfQueue(model.queue(each.from)!)} ${group}`]
        : targetsOf(each.to, each.call, { flow, model }).map((node) => `${group} ${node}`);
    return ends.flatMap((key) => byEnds.get(key) ?? []);
  };
  const chosen = useMemo(() => {
    if (choice === undefined || !('message' in choice)) return [];
    return (model.messages.get(choice.message) ?? []).map((event) => ({ event, edges: edgesOf(event) }));
  }, [choice]);
  const lit = new Map<string, LitEdge>();
  for (const { event, edges } of chosen)
    for (const edge of edges) {
      const kind = event < count ? 'chosen' : 'ahead';
      if (kind === 'chosen' || !lit.has(`chosen ${edge}`))
        lit.set(`${kind} ${edge}`, { edge, kind, strength: kind === 'chosen' ? 1 : 0.35 });
    }
  for (let event = count - 1; event >= 0 && position - scale.positions[event]! < flightLength; event--)
    for (const edge of edgesOf(event)) {
      const strength = 1 - (position - scale.positions[event]!) / flightLength;
      const before = lit.get(`now ${edge}`);
      lit.set(`now ${edge}`, { edge, kind: 'now', strength: Math.max(strength, before?.strength ?? 0) });
    }
  return [...lit.values()];
}

/** The nodes that a call goes to. */
function targetsOf(to: string, call: string, { flow, model }: Pick<Run, 'flow' | 'model'>): number[] {
  if (call === 'publish' || call === 'append')
    return [...new Set(model.routes(to).flatMap((queue) => flow.nodeOfQueue(queue) ?? []))];
  const instance = model.calledInstance(to);
  if (instance !== undefined) return [flow.nodeOfInstance(instance)];
  const resource = model.calledResource(to);
  return resource === undefined ? [] : [flow.nodeOfResource(resource)];
}

/** Messages on their way: out of who has sent them, into who gets them next. */
function Dots({
  run: { flow, model, scale },
  time: { count, position },
  elements,
}: {
  run: Run;
  time: Time;
  elements: readonly (SVGPathElement | null)[];
}): VNode {
  const byEnds = useMemo(() => new Map(flow.edges.map(({ from, to }, at) => [`${from} ${to}`, at])), [flow]);
  const dots: VNode[] = [];
  const add = (from: number, to: number, progress: number, key: string): void => {
    const element = elements[byEnds.get(`${from} ${to}`) ?? -1];
    if (element === undefined || element === null) return;
    const { x, y } = element.getPointAtLength(element.getTotalLength() * progress);
    dots.push(<circle key={key} class="dot" cx={x} cy={y} r="3.4" />);
  };
  for (let event = count - 1; event >= 0 && position - scale.positions[event]! < flightLength; event--) {
    const each = model.events[event]!;
    if (each.type !== 'call' || each.to.startsWith('/')) continue;
    const from = flow.nodeOfInstance(model.instance(each.role)!);
    for (const to of targetsOf(each.to, each.call, { flow, model }))
      add(from, to, (position - scale.positions[event]!) / flightLength, `c${event} ${to}`);
  }
  for (let event = count; event < model.events.length && scale.positions[event]! - position < flightLength; event++) {
    const each = model.events[event]!;
    if (each.type !== 'delivery') continue;
    const [from, to] = [flow.nodeOfQueue(model.queue(each.from)!), flow.nodeOfInstance(model.instance(each.role)!)];
    if (from !== undefined) add(from, to, 1 - (scale.positions[event]! - position) / flightLength, `d${event}`);
  }
  return <g class="dots">{dots}</g>;
}

function Node(props: Props & { node: MapNode; at: number; placed: Placed }): VNode {
  switch (props.node.kind) {
    case 'group':
      return <Group {...props} />;
    case 'queue':
      return <Pipe {...props} />;
    case 'resource':
      return <Resource {...props} />;
  }
}

function Group({
  node,
  at,
  placed,
  run,
  state,
  ms,
  choice,
  choose,
}: Props & { node: MapNode; at: number; placed: Placed }): VNode {
  const { x, y, width } = placed.boxes[at]!;
  return (
    <g role="group" aria-label={node.label}>
      <text x={x + width / 2} y={y + labelHeight - 6} class="name halo">
        {node.label}
      </text>
      {placed.cells[at]!.map((cell) => (
        <InstanceBox
          key={cell.instance}
          cell={cell}
          run={run}
          state={state.instances[cell.instance]!}
          ms={ms}
          isChosen={choice !== undefined && 'instance' in choice && choice.instance === cell.instance}
          choose={choose}
        />
      ))}
    </g>
  );
}

interface BoxProps {
  cell: Cell;
  run: Run;
  state: InstanceState;
  ms: number;
  isChosen: boolean;
  choose: (choice: Choice) => void;
}

function InstanceBox({ cell: { instance, x, y, width, height }, run, state, ms, isChosen, choose }: BoxProps): VNode {
  const { name, number } = run.model.instances[instance]!;
  const status = statusOf(state, ms);
  const holds = state.holds.length;
  const held = holdsText(holds, run.model.recording);
  const isBusy = holds > 0 && status !== 'dead';
  const said = [
    name,
    words[status],
    ...(state.life > 1 ? [`life ${state.life}`] : []),
    ...(state.leads ? ['leads'] : []),
    ...(holds > 0 ? [held] : []),
    ...(state.note === '' ? [] : [state.note]),
  ].join(', ');
  const press = (event: KeyboardEvent): void => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    event.stopPropagation();
    choose({ instance });
  };
  return (
    <g
      class={`inst ${status}${isBusy ? ' busy' : ''}${isChosen ? ' chosen' : ''}`}
      role="button"
      tabindex={0}
      aria-label={said}
      aria-pressed={isChosen}
      onClick={() => choose(isChosen ? undefined : { instance })}
      onKeyDown={press}
    >
      <title>{said}</title>
      <rect class="ring" x={x - 3} y={y - 3} width={width + 6} height={height + 6} rx="8" />
      <rect class="x" x={x} y={y} width={width} height={height} rx="5" />
      {status === 'dead' && <path class="g" d={`M${x + width / 2 - 4} ${y + height / 2 - 4}l8 8m0-8l-8 8`} />}
      {state.leads && <path class="crown" d={crownPath(x + width - 10, y - 1.5)} />}
      {status !== 'dead' && number !== '' && (
        <text x={x + width / 2} y={y + height / 2 + 3.6} class="n">
          {number}
        </text>
      )}
    </g>
  );
}

/** A pipe's fill is the logarithm of its depth: seven are half of it, a hundred all. */
const depthShare = (depth: number): number => Math.min(1, Math.log10(1 + depth) / 2);

function Pipe({
  node,
  at,
  placed,
  run,
  state,
  ms,
  time,
  choice,
  choose,
}: Props & { node: MapNode; at: number; placed: Placed }): VNode {
  const box = placed.boxes[at]!;
  const width = pipeWidth;
  const [x, y] = [box.x + (box.width - width) / 2, box.y + pipeTop(node)];
  const queues = node.members.map((queue) => run.model.queues[queue]!);
  const isLog = queues.every((queue) => queue.isLog);
  const seen = useRate(run, node.members, ms, time.count);
  const depth = depthOf(run.model, state, node.members, ms);
  const [ready, held] = isLog ? [0, 0] : [depth?.ready ?? 0, depth?.held ?? 0];
  const rate = depth === undefined ? 0 : Math.round(depth.rate ?? seen);
  const isChosen = choice !== undefined && 'queues' in choice && choice.queues === node.members;
  const name = node.owner === undefined ? node.label : `${node.owner} ${node.label}`;
  const label = `${name}, ${depthText(depth, isLog)}`;
  const said = `${label}${rate > 0 ? `, ${rate} a second` : ''}: ${queues
    .map(({ name }) => name)
    .slice(0, 6)
    .join(', ')}${queues.length > 6 ? ` and ${queues.length - 6} more` : ''}`;
  const room = width - 4;
  const [readyWidth, heldWidth] = [room * depthShare(ready), room * (depthShare(ready + held) - depthShare(ready))];
  const press = (event: KeyboardEvent): void => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    event.stopPropagation();
    choose({ queues: node.members });
  };
  const number = depth === undefined ? 0 : depth.ready + (isLog ? 0 : depth.held);
  return (
    <g
      class={`pipe${isChosen ? ' chosen' : ''}${isLog ? ' log' : ''}${state.engineAwayMs > ms ? ' gone' : ''}`}
      role="button"
      tabindex={0}
      aria-label={said}
      aria-pressed={isChosen}
      onClick={() => choose(isChosen ? undefined : { queues: node.members })}
      onKeyDown={press}
    >
      <title>{said}</title>
      <rect class="hit" x={x - 2} y={y} width={width + 4} height="32" />
      {node.owner !== undefined && (
        <text x={x + width / 2} y={y - 1} class="q owner halo">
          {node.owner}
        </text>
      )}
      <text x={x + width / 2} y={y + 9} class="q halo">
        {node.label}
      </text>
      <rect class="tube" x={x} y={y + 13} width={width} height="12" rx={isLog ? 2 : 6} />
      {isLog && <path class="rungs" d={`M${x + 8} ${y + 13}v12m7-12v12m7-12v12m7-12v12m7-12v12`} />}
      {heldWidth > 0 && (
        <rect class="held" x={x + width - 2 - readyWidth - heldWidth} y={y + 15} width={heldWidth} height="8" rx="3" />
      )}
      {readyWidth > 0 && <rect class="ready" x={x + width - 2 - readyWidth} y={y + 15} width={readyWidth} height="8" rx="3" />}
      <text
        {...(placed.isDown
          ? { x: x + width + 5, y: y + 23, class: 's beside halo' }
          : { x: x + width / 2, y: y + 35, class: 's halo' })}
      >
        {[number > 0 ? `${depth?.isAbout === true ? '~' : ''}${number}` : '', rate > 0 ? `${rate}/s` : '']
          .filter(Boolean)
          .join(' · ')}
      </text>
    </g>
  );
}

/** Deliveries in the second before. */
function useRate({ model }: Run, members: readonly number[], ms: number, count: number): number {
  const times = useMemo(() => {
    const own = new Set(members);
    return model.events.flatMap((event, at) =>
      event.type === 'delivery' && own.has(model.queue(event.from)!) ? [{ ms: event.ms, at }] : [],
    );
  }, [model, members]);
  const until = after(times.length, (each) => times[each]!.at < count);
  return until - after(until, (each) => times[each]!.ms <= ms - 1_000);
}

function Resource({ node, at, placed }: Props & { node: MapNode; at: number; placed: Placed }): VNode {
  const { x, y, width } = placed.boxes[at]!;
  const [middle, top] = [x + width / 2, y + 17];
  return (
    <g class="resource" role="img" aria-label={node.label}>
      <path class="x" d={`M${middle - 17} ${top}v17a17 5 0 0 0 34 0v-17`} />
      <ellipse class="x" cx={middle} cy={top} rx="17" ry="5" />
      <text x={middle} y={y + 7} class="name halo">
        {node.label}
      </text>
    </g>
  );
}
