/** Time: a lane an instance, arrows for messages, flags for faults, bands for who leads. What lies ahead is veiled. */
import type { VNode } from 'preact';
import { useMemo, useRef, useState } from 'preact/hooks';
import { shortened } from '../journey.ts';
import { useSize, type Choice, type Run, type Time, type View } from './app.tsx';
import { arrowHeads, inView, laneMax, laneMin, lines, nameSize, nearestArrow, type Frame } from './drawing.ts';
import type { Arrow, Mark } from './tracks.ts';

interface Props {
  run: Run;
  time: Time;
  choice: Choice;
  choose: (choice: Choice) => void;
}

/** What stands above the lanes: times and flags. */
const headHeight = 40;
/** Under the lanes: how long silences are. */
const footHeight = 15;
/** Width of a letter of the small labels, about. */
const letterOf = (size: number): number => size * 0.56;
const letter = letterOf(10.5);

export function Lanes(props: Props): VNode {
  const { run, time } = props;
  const [ref, { width, height }] = useSize();
  const count = run.tracks.order.length;
  const laneHeight = Math.max(laneMin, Math.min(laneMax, (height - headHeight - footHeight) / count));
  const names = laneNames(run);
  const longest = Math.max(...names.map(({ length }) => length)) * letterOf(nameSize(laneHeight));
  const gutter = Math.max(60, Math.min(longest + 14, width * (width < 640 ? 0.34 : 0.25)));
  const [from, to] = time.view;
  const scaleX = (width - gutter - 10) / (to - from);
  const frame: Frame = {
    width,
    gutter,
    head: headHeight,
    laneHeight,
    height: headHeight + count * laneHeight + footHeight,
    view: time.view,
    x: (at) => gutter + (at - from) * scaleX,
    y: (lane) => headHeight + (lane + 0.5) * laneHeight,
    at: (x) => from + (x - gutter) / scaleX,
  };
  return (
    <>
      <div
        id="lanes"
        ref={ref}
        tabIndex={0}
        style={{ '--lanes': count }}
        role="application"
        aria-label="Lanes of time: left and right step, enter follows the message, escape clears"
      >
        {width > 0 && <Drawing {...props} frame={frame} />}
      </div>
      <Overview run={run} time={time} gutter={gutter} />
    </>
  );
}

function Drawing({ run, time, choice, choose, frame }: Props & { frame: Frame }): VNode {
  const [hovered, setHovered] = useState<{ arrow: Arrow; x: number; y: number }>();
  const message = choice !== undefined && 'message' in choice ? choice.message : undefined;
  const instance = choice !== undefined && 'instance' in choice ? choice.instance : undefined;
  const { width, height } = frame;
  const deps = [run, width, height, frame.laneHeight, frame.view[0], frame.view[1]];
  const ground = useMemo(() => <Ground run={run} frame={frame} />, deps);
  const traffic = useMemo(() => <Traffic run={run} frame={frame} />, deps);
  const chosen = useMemo(() => message !== undefined && <Chosen run={run} frame={frame} message={message} />, [...deps, message]);
  const signs = useMemo(() => <Signs run={run} frame={frame} />, deps);
  const playhead = Math.max(frame.gutter - 3, Math.min(width, frame.x(time.position)));
  /** Beside the end of the axis its time would be cut off. */
  const pill = Math.min(0, width - 34 - playhead);
  const isIn = time.position >= frame.view[0] && time.position <= frame.view[1];
  const isCovered = (from: number, to: number): boolean => isIn && to > playhead + pill - 34 && from < playhead + pill + 34;
  const pointing = usePointing({ run, time, choice, choose, frame }, setHovered);
  return (
    <>
      <svg width={width} height={height} {...pointing} aria-hidden="true">
        {instance !== undefined && (
          <rect
            class="lane-chosen"
            x="0"
            y={frame.y(run.tracks.laneOf[instance]!) - frame.laneHeight / 2}
            width={width}
            height={frame.laneHeight}
          />
        )}
        <Times run={run} frame={frame} isCovered={isCovered} />
        {ground}
        <g class={message === undefined ? '' : 'quiet'}>{traffic}</g>
        {chosen}
        {signs}
        <rect
          class={time.isFollowing ? 'veil live' : 'veil'}
          x={playhead}
          y={20}
          width={Math.max(0, width - playhead)}
          height={height - 20}
        />
        {hovered !== undefined && (
          <path
            class={`arrow hovered ${hovered.arrow.kind}`}
            d={lines(frame, [hovered.arrow]) + arrowHeads(frame, [hovered.arrow])}
          />
        )}
        <Labels run={run} frame={frame} instance={instance} />
        {isIn && (
          <g class="playhead" transform={`translate(${playhead} 0)`}>
            <path d={`M0 16V${height}`} />
            <rect x={pill - 31} y="1" width="62" height="17" rx="8.5" />
            <text x={pill} y="13.5">
              {run.clock(run.scale.msAt(time.position))}
            </text>
          </g>
        )}
      </svg>
      {hovered !== undefined && (
        <div id="tip" style={{ left: `${Math.min(hovered.x + 14, width - 260)}px`, top: `${hovered.y + 14}px` }}>
          {nameOfArrow(run, hovered.arrow)}
        </div>
      )}
    </>
  );
}

function nameOfArrow({ model, tracks }: Run, { message, from, to }: Arrow): string {
  const name = (lane: number): string => model.instances[tracks.order[lane]!]!.name;
  return `${message || 'no words'} · ${name(from.lane)} → ${name(to.lane)}`;
}

/** Lanes, the lives on them, who leads and silences. */
function Ground({ run: { tracks }, frame }: { run: Run; frame: Frame }): VNode {
  const { x, y, width, height, gutter, head, laneHeight, view } = frame;
  const band = (from: number, to: number): { x: number; width: number } => {
    const left = Math.max(gutter, x(from));
    return { x: left, width: Math.max(0, Math.min(width, x(to)) - left) };
  };
  const lanes = tracks.order.map((_, lane) => `M${gutter} ${y(lane)}H${width}`).join('');
  return (
    <g>
      {inView(tracks.silences, view).map(({ from, to, ms }) => {
        const { x: left, width: wide } = band(from, to);
        return (
          <g key={from} class="silence">
            <rect x={left + 1} y={head} width={Math.max(0, wide - 2)} height={height - head - footHeight} />
            {wide > 30 && (
              <text x={left + wide / 2} y={height - 5}>
                {ms >= 10_000 ? Math.round(ms / 1_000) : (ms / 1_000).toFixed(1)} s
              </text>
            )}
          </g>
        );
      })}
      {inView(tracks.away, view).map(({ from, to, text }) => (
        <g key={from} class="gone">
          <rect {...band(from, to)} y={head} height={height - head} />
          <text x={band(from, to).x + 5} y={height - 5}>
            {text}
          </text>
        </g>
      ))}
      <path class="lane" d={lanes} />
      {inView(tracks.leading, view).map((each) => (
        <rect
          key={`${each.lane} ${each.from}`}
          class="leading"
          {...band(each.from, each.to)}
          y={y(each.lane) - Math.min(laneHeight - 2, 22) / 2}
          height={Math.min(laneHeight - 2, 22)}
          rx="3"
        />
      ))}
      {inView(tracks.troubled, view).map((each, at) => (
        <rect key={at} class={`trouble ${each.trouble}`} {...band(each.from, each.to)} y={y(each.lane) - 3} height="6" rx="1" />
      ))}
      {inView(tracks.dead, view).map((each) => {
        const { x: left, width: wide } = band(each.from, each.to);
        return <path key={`${each.lane} ${each.from}`} class="dead-line" d={`M${left} ${y(each.lane)}h${wide}`} />;
      })}
    </g>
  );
}

/** Times on the axis, but for those that the moment's own would cover. */
function Times({
  run: { scale, clock },
  frame,
  isCovered,
}: {
  run: Run;
  frame: Frame;
  isCovered: (from: number, to: number) => boolean;
}): VNode {
  const { gutter, width, height, at } = frame;
  const ticks: VNode[] = [];
  let before = '';
  for (let x = gutter + 4; x < width - 46; x += 84) {
    const text = clock(scale.msAt(at(x)));
    ticks.push(
      <g key={x}>
        <path d={`M${x} 20V${height}`} />
        {text !== before && !isCovered(x + 3, x + 3 + text.length * letter) && (
          <text x={x + 3} y="13">
            {text}
          </text>
        )}
      </g>,
    );
    before = text;
  }
  return <g class="axis">{ticks}</g>;
}

/** Work on lanes and all arrows between them: few paths, however many messages. */
function Traffic({ run: { tracks }, frame }: { run: Run; frame: Frame }): VNode {
  const { view, x, y } = frame;
  const arrows = tracks.arrows.filter(
    ({ from, to }) => Math.max(from.at, to.at) >= view[0] && Math.min(from.at, to.at) <= view[1],
  );
  const of = (kind: Arrow['kind']): Arrow[] => arrows.filter((arrow) => arrow.kind === kind);
  const isDense = arrows.length > 900;
  const works = inView(tracks.works, view)
    .map(
      ({ lane, from, to }) =>
        `M${Math.max(frame.gutter, x(from))} ${y(lane)}H${Math.max(x(from) + 1.5, Math.min(frame.width, x(to)))}`,
    )
    .join('');
  const calls = inView(
    tracks.calls.map((call) => ({ ...call, from: call.at, to: call.at })),
    view,
  )
    .map(({ lane, at }) => `M${x(at)} ${y(lane) - 2}v4`)
    .join('');
  return (
    <g class={isDense ? 'dense' : ''}>
      <path class="call" d={calls} />
      <path class="work" d={works} />
      <path class="arrow direct" d={lines(frame, of('direct')) + (isDense ? '' : arrowHeads(frame, of('direct')))} />
      <path class="arrow data" d={lines(frame, of('data')) + (isDense ? '' : arrowHeads(frame, of('data')))} />
      <path class="arrow again" d={lines(frame, of('again')) + arrowHeads(frame, of('again'))} />
    </g>
  );
}

/** The chosen message, over all others. */
function Chosen({ run: { tracks }, frame, message }: { run: Run; frame: Frame; message: string }): VNode {
  const arrows = tracks.arrows.filter((arrow) => arrow.message === message && arrow.to.at >= frame.view[0]);
  const works = inView(tracks.works, frame.view).filter((work) => work.message === message);
  const { x, y } = frame;
  return (
    <g class="chosen">
      <path
        class="work"
        d={works
          .map(({ lane, from, to }) => `M${Math.max(frame.gutter, x(from))} ${y(lane)}H${Math.max(x(from) + 2, x(to))}`)
          .join('')}
      />
      {(['direct', 'data', 'again'] as const).map((kind) => {
        const own = arrows.filter((arrow) => arrow.kind === kind);
        return <path key={kind} class={`arrow ${kind}`} d={lines(frame, own) + arrowHeads(frame, own)} />;
      })}
    </g>
  );
}

/** Flags of faults, crosses of deaths, notes. */
function Signs({ run: { tracks }, frame }: { run: Run; frame: Frame }): VNode {
  const { view, x, y, head, width } = frame;
  const visible = (marks: readonly Mark[]): Mark[] => marks.filter(({ at }) => at >= view[0] && at <= view[1]);
  const faults = visible(tracks.faults);
  // From the last to the first: whether there is room for its words before the next.
  let next = width;
  const flags = faults.toReversed().map(({ lane, at, text, event }) => {
    const left = x(at);
    const isLegible = left + 13 + text.length * letter < next;
    next = left;
    return (
      <g key={event} class="fault">
        <path class="fault-line" d={`M${left} ${head - 6}V${y(lane)}`} />
        <path class="flag" d={`M${left} ${head - 17}h8l-2.4 3 2.4 3h-6.6v5h-1.4z`} />
        {isLegible && (
          <text x={left + 11} y={head - 9}>
            {text}
          </text>
        )}
        <circle cx={left} cy={y(lane)} r="2.6" class="fault-point" />
      </g>
    );
  });
  const noted = new Map<number, number>();
  const notes = visible(tracks.notes)
    .toReversed()
    .map(({ lane, at, text, event }) => {
      const left = x(at);
      const isLegible = frame.laneHeight >= 14 && left + 9 + text.length * 5.4 < (noted.get(lane) ?? width);
      noted.set(lane, left);
      return (
        <g key={event} class="note">
          <path d={`M${left} ${y(lane) - 4}l4 4l-4 4l-4 -4z`} />
          {isLegible && (
            <text x={left + 8} y={y(lane) + 3.5} class="halo">
              {text}
            </text>
          )}
        </g>
      );
    });
  const crosses = visible(tracks.deaths)
    .map(({ lane, at }) => `M${x(at) - 3.5} ${y(lane) - 3.5}l7 7m0-7l-7 7`)
    .join('');
  return (
    <g>
      {flags}
      {notes}
      <path class="cross" d={crosses} />
    </g>
  );
}

/** The names of lanes: of replicas only their numbers, behind the first. */
const laneNames = ({ model: { instances }, tracks: { order } }: Pick<Run, 'model' | 'tracks'>): string[] =>
  order.map((each, lane) => {
    const { name, group, number } = instances[each]!;
    const isFirst = group !== instances[order[lane - 1] ?? -1]?.group;
    return isFirst || number === '' ? name : `-${number.replaceAll('.', '-')}`;
  });

function Labels({ run: { model, tracks }, frame, instance }: { run: Run; frame: Frame; instance: number | undefined }): VNode {
  const size = nameSize(frame.laneHeight);
  const names = laneNames({ model, tracks });
  return (
    <g>
      <rect class="gutter" x="0" y={frame.head} width={frame.gutter - 3} height={frame.height - frame.head} />
      {tracks.order.map((each, lane) => {
        const { name } = model.instances[each]!;
        return (
          <text
            key={each}
            x={frame.gutter - 8}
            y={frame.y(lane) + size / 3}
            class={each === instance ? 'lane-name chosen' : 'lane-name'}
            style={{ fontSize: `${size}px` }}
          >
            <title>{name}</title>
            {shortened(names[lane]!, Math.floor((frame.gutter - 10) / letterOf(size)))}
          </text>
        );
      })}
    </g>
  );
}

/** Pointing: a click chooses a message, an instance by its name, or a moment; a drag moves; a wheel with a key zooms. */
function usePointing(
  { run, time, choose, frame }: Props & { frame: Frame },
  setHovered: (hovered: { arrow: Arrow; x: number; y: number } | undefined) => void,
) {
  const drag = useRef<{ x: number; from: number; isSeeking: boolean; hasMoved: boolean } | undefined>(undefined);
  const placeOf = (event: MouseEvent): { x: number; y: number } => {
    const { left, top } = (event.currentTarget as Element).getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  };
  return {
    onPointerDown: (event: PointerEvent) => {
      const { x, y } = placeOf(event);
      drag.current = { x, from: time.view[0], isSeeking: y < 20 || Math.abs(x - frame.x(time.position)) < 5, hasMoved: false };
      (event.currentTarget as Element).setPointerCapture(event.pointerId);
    },
    onPointerMove: (event: PointerEvent) => {
      const { x, y } = placeOf(event);
      const { current } = drag;
      if (current === undefined) {
        const arrow = x < frame.gutter ? undefined : nearestArrow(frame, run.tracks.arrows, x, y);
        return setHovered(arrow && { arrow, x, y });
      }
      if (Math.abs(x - current.x) > 3) current.hasMoved = true;
      if (!current.hasMoved) return;
      if (current.isSeeking) time.seek(frame.at(Math.max(frame.gutter, Math.min(frame.width - 12, x))));
      else time.pan(current.from + frame.at(current.x) - frame.at(x));
    },
    onPointerLeave: () => setHovered(undefined),
    onPointerUp: (event: PointerEvent) => {
      const { x, y } = placeOf(event);
      const { current } = drag;
      drag.current = undefined;
      if (current === undefined || current.hasMoved) return;
      if (x < frame.gutter - 3) {
        const instance = run.tracks.order[Math.floor((y - frame.head) / frame.laneHeight)];
        return instance === undefined ? undefined : choose({ instance });
      }
      const arrow = y < frame.head ? undefined : nearestArrow(frame, run.tracks.arrows, x, y);
      if (arrow !== undefined && arrow.message !== '') choose({ message: arrow.message });
      else time.seek(frame.at(x));
    },
    onWheel: (event: WheelEvent) => {
      const isAcross = Math.abs(event.deltaX) > Math.abs(event.deltaY);
      if (event.ctrlKey || event.metaKey) time.zoom(event.deltaY > 0 ? 1.2 : 0.83, frame.at(placeOf(event).x));
      else if (event.shiftKey || isAcross)
        time.pan(time.view[0] + ((event.deltaX || event.deltaY) / frame.width) * (time.view[1] - time.view[0]));
      else return;
      event.preventDefault();
    },
  };
}

/** The whole run: how much happens where, its faults, and the part that the lanes show. */
function Overview({ run: { scale, tracks }, time, gutter }: { run: Run; time: Time; gutter: number }): VNode {
  const [ref, { width }] = useSize();
  const room = Math.max(1, width - gutter - 10);
  const x = (at: number): number => gutter + (at / scale.end) * room;
  const bars = useMemo(() => {
    const counts = Array.from({ length: Math.floor(room / 5) }, () => 0);
    for (const at of scale.positions) counts[Math.min(counts.length - 1, Math.floor((at / scale.end) * counts.length))]!++;
    const most = Math.max(1, ...counts);
    return counts.map((count, at) => (count === 0 ? '' : `M${gutter + at * 5} 26v${-2 - (count / most) * 20}h3.6V26z`)).join('');
  }, [room, tracks]);
  const move = (event: PointerEvent): void => {
    if (event.type === 'pointermove' && event.buttons === 0) return;
    const { left } = (event.currentTarget as Element).getBoundingClientRect();
    const at = ((event.clientX - left - gutter) / room) * scale.end;
    time.pan(at - (time.view[1] - time.view[0]) / 2);
    time.seek(Math.max(0, Math.min(scale.end, at)));
  };
  const [from, to]: View = time.view;
  return (
    <div id="over" ref={ref} aria-hidden="true" onPointerDown={move} onPointerMove={move}>
      <svg width={width} height="30">
        <path class="bars" d={bars} />
        {tracks.faults.map(({ at, event }) => (
          <path key={event} class="flag" d={`M${x(at)} 1h5l-1.6 2 1.6 2h-4v4h-1z`} />
        ))}
        <rect class="window" x={x(from)} y="0.5" width={Math.max(3, x(to) - x(from))} height="28" rx="4" />
        <path class="now" d={`M${x(time.position)} 0v29`} />
      </svg>
    </div>
  );
}
