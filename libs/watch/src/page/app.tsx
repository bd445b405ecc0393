/** The whole page: what is chosen, where in time it is, and what keys do. */
import type { VNode } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { firstOf, lineOf, verdictLine } from '../journey.ts';
import type { Flow } from '../layout.ts';
import type { Model } from '../model.ts';
import { pace, type Scale } from '../scale.ts';
import type { Again } from './faults.tsx';
import type { Stream } from './stream.ts';
import { Icon } from './icons.tsx';
import { SystemMap } from './map.tsx';
import { LedgerLine } from './promises.tsx';
import { Side } from './side.tsx';
import { Lanes } from './time.tsx';
import type { Tracks } from './tracks.ts';

export interface Run {
  readonly model: Model;
  readonly scale: Scale;
  readonly flow: Flow;
  readonly tracks: Tracks;
  /** How a time is written. */
  clock(this: void, ms: number): string;
}

/** The system runs, and this is its page. */
export interface LivePage extends Pick<Stream, 'breaking' | 'isConnected' | 'presentMs'> {}

export type Choice =
  { readonly message: string } | { readonly instance: number } | { readonly queues: readonly number[] } | undefined;

/** A part of the axis. */
export type View = readonly [from: number, to: number];

const speeds = [
  [0.25, '×¼'],
  [1, '×1'],
  [4, '×4'],
  [16, '×16'],
] as const;
/** The narrowest view. */
const viewMin = 12;
/** A page that is open for hours beside the system that it shows leaves it the processor. */
const liveStepMs = 45;

export const seconds = (ms: number): string => (ms / 1_000).toFixed(3);

/** As a clock shows it: `1:02.4`. */
export const minutes = (ms: number): string => `${Math.floor(ms / 60_000)}:${((ms / 1_000) % 60).toFixed(1).padStart(4, '0')}`;

/** The width and height of an element, whenever they change. */
export function useSize(): [ref: (element: Element | null) => void, size: { width: number; height: number }] {
  const [size, setSize] = useState({ width: 0, height: 0 });
  const observer = useRef<ResizeObserver | undefined>(undefined);
  const ref = useMemo(
    () => (element: Element | null) => {
      observer.current?.disconnect();
      if (element === null) return;
      const measure = (): void => setSize({ width: Math.round(element.clientWidth), height: Math.round(element.clientHeight) });
      observer.current = new ResizeObserver(measure);
      observer.current.observe(element);
      measure();
    },
    [],
  );
  return [ref, size];
}

/** `#event=120`: where the page opens. */
function eventInAddress(): number | undefined {
  const event = /\bevent=(\d+)/.exec(location.hash)?.[1];
  return event === undefined ? undefined : Number(event);
}

/** The moment and the part of the axis that is to be seen, and what moves them. */
function useTime({ model, scale }: Run, live: LivePage | undefined) {
  const usual = Math.max(viewMin, innerWidth / 9);
  const span = live === undefined ? Math.min(scale.end, usual) : usual;
  const [position, setPosition] = useState(() =>
    live === undefined
      ? (scale.positions[Math.min(eventInAddress() ?? firstOf(model), model.events.length - 1)] ?? 0)
      : scale.positionOf(live.presentMs()),
  );
  /** A run that goes on has room for what is to come. */
  const within = (from: number, width: number): View => {
    const start = Math.max(0, Math.min(scale.end - width * (live === undefined ? 1 : 0.3), from));
    return [start, start + width];
  };
  const [view, setView] = useState<View>(() => within(position - span * (live === undefined ? 0.4 : 0.7), span));
  const [isPlaying, setPlaying] = useState(false);
  /** Whether it is at the present, and goes on with it. */
  const [isFollowing, setFollowing] = useState(live !== undefined);
  const [speed, setSpeed] = useState(1);
  const go = (next: number): void => {
    setPosition(next);
    const width = view[1] - view[0];
    if (next < view[0] || next > view[1] - width * 0.04)
      setView(within(next - width * (next < view[0] || live !== undefined ? 0.6 : 0.2), width));
  };
  const seek = (to: number): void => {
    setFollowing(false);
    go(Math.max(0, Math.min(scale.end, to)));
  };
  const present = (): number => scale.positionOf(live?.presentMs() ?? 0);
  const follow = (): void => {
    setPlaying(false);
    setFollowing(true);
    go(present());
  };
  const zoom = (factor: number, around = position): void => {
    const width = Math.max(viewMin, Math.min(Math.max(scale.end, span), (view[1] - view[0]) * factor));
    const centre = Math.max(view[0], Math.min(view[1], around));
    setView(within(centre - ((centre - view[0]) / (view[1] - view[0])) * width, width));
  };
  const pan = (from: number): void => {
    setFollowing(false);
    setView(within(from, view[1] - view[0]));
  };
  usePlaying(isPlaying || isFollowing, live === undefined ? 0 : liveStepMs, (byMs) => {
    if (isFollowing) return go(present());
    const next = position + (byMs / 1_000) * pace * speed;
    if (live !== undefined && next >= present()) return follow();
    if (position >= scale.end) return setPlaying(false);
    seek(next);
  });
  const count = scale.countAt(position);
  const seekEvent = (event: number): void => seek(scale.positions[Math.max(0, Math.min(model.events.length - 1, event))]!);
  const play = (): void => {
    if (isFollowing) return setFollowing(false);
    if (!isPlaying && position >= scale.end) seek(0);
    setPlaying(!isPlaying);
  };
  const stop = (): void => {
    setPlaying(false);
    setFollowing(false);
  };
  return {
    position,
    count,
    view,
    isPlaying,
    isFollowing,
    speed,
    seek,
    seekEvent,
    zoom,
    pan,
    play,
    stop,
    follow,
    setSpeed,
    setView,
  };
}

export type Time = ReturnType<typeof useTime>;

/** Calls back in each frame; where motion is to be reduced, now and then. */
function usePlaying(isPlaying: boolean, frameMs: number, advance: (byMs: number) => void): void {
  const latest = useRef(advance);
  latest.current = advance;
  useEffect(() => {
    if (!isPlaying) return;
    const stepMs = matchMedia('(prefers-reduced-motion: reduce)').matches ? 400 : frameMs;
    let before: number | undefined;
    let frame = 0;
    const next = (nowMs: number): void => {
      before ??= nowMs;
      if (nowMs - before >= stepMs) {
        latest.current(Math.min(nowMs - before, Math.max(100, stepMs)));
        before = nowMs;
      }
      frame = requestAnimationFrame(next);
    };
    frame = requestAnimationFrame(next);
    return () => cancelAnimationFrame(frame);
  }, [isPlaying]);
}

/** The message that an event is about, if it can be followed. */
export function messageAt({ model }: Run, event: number): string | undefined {
  const each = model.events[event];
  return each !== undefined && 'message' in each && model.messages.has(each.message) ? each.message : undefined;
}

/** What is chosen, whose places are others in the next run that the page makes. */
function useChoice(run: Run): [Choice, (choice: Choice) => void] {
  const [choice, setChoice] = useState<Choice>();
  const before = useRef(run);
  if (before.current !== run) {
    const { model } = before.current;
    before.current = run;
    if (choice !== undefined && 'instance' in choice) {
      const instance = run.model.instance(model.instances[choice.instance]!.name);
      setChoice(instance === undefined ? undefined : { instance });
    }
    if (choice !== undefined && 'queues' in choice) {
      const queue = run.model.queue(model.queues[choice.queues[0]!]!.name);
      const node = queue === undefined ? undefined : run.flow.nodeOfQueue(queue);
      setChoice(node === undefined ? undefined : { queues: run.flow.nodes[node]!.members });
    }
    if (choice !== undefined && 'message' in choice && !run.model.messages.has(choice.message)) setChoice(undefined);
  }
  return [choice, setChoice];
}

export function App({ run, again, live }: { run: Run; again?: Again | undefined; live?: LivePage | undefined }): VNode {
  const time = useTime(run, live);
  const [choice, setChoice] = useChoice(run);
  /** Where somebody wanted to follow a message, and there is none. */
  const [wordless, setWordless] = useState<number>();
  const { model, scale, tracks } = run;
  const { count, position } = time;
  const step = (by: number): void => {
    time.stop();
    // Back from between two events goes to the one before, not past it.
    const isAt = count > 0 && Math.abs(scale.positions[count - 1]! - position) < 1e-6;
    time.seekEvent(count - 1 + (by < 0 && !isAt ? 0 : by));
  };
  const nextFault = (): void => {
    const fault = tracks.faults.find(({ at }) => at > position + 1e-6);
    if (fault === undefined) return;
    time.stop();
    time.seekEvent(fault.event);
  };
  const keys: Record<string, (() => void) | undefined> = {
    ' ': time.play,
    ArrowRight: () => step(1),
    ArrowLeft: () => step(-1),
    Home: () => time.seek(0),
    End: () => (live === undefined ? time.seek(scale.end) : time.follow()),
    f: nextFault,
    '+': () => time.zoom(0.6),
    '=': () => time.zoom(0.6),
    '-': () => time.zoom(1.6),
    '0': () => time.setView([0, scale.end]),
    Escape: () => setChoice(undefined),
    Enter: () => {
      const message = messageAt(run, count - 1);
      setWordless(message === undefined ? count : undefined);
      if (message !== undefined) setChoice({ message });
    },
  };
  useKeys(keys);
  useLayoutEffect(() => {
    if (!time.isPlaying && live === undefined) history.replaceState(undefined, '', `#event=${count - 1}`);
  }, [count, time.isPlaying]);
  const state = model.stateAt(count);
  const ms = scale.msAt(position);
  const event = model.events[count - 1];
  const isMoving = time.isPlaying || time.isFollowing;
  return (
    <>
      <Header run={run} ms={ms} isOver={count === model.events.length} time={time} live={live} />
      <main>
        <SystemMap run={run} state={state} ms={ms} time={time} choice={choice} choose={setChoice} />
        <section id="time" aria-label="Time">
          <div class="bar">
            <h2>Time</h2>
            <button
              class="btn ico first"
              aria-label="Back to the start"
              title="Back to the start (Home)"
              onClick={() => time.seek(0)}
            >
              <Icon name="start" />
            </button>
            <button class="btn ico" aria-label="Step back" title="Step back (←)" onClick={() => step(-1)}>
              <Icon name="back" />
            </button>
            <button class="btn main" aria-label={isMoving ? 'Pause' : 'Play'} title="Play (space)" onClick={time.play}>
              <Icon name={isMoving ? 'pause' : 'play'} />
            </button>
            <button class="btn ico" aria-label="Step forward" title="Step forward (→)" onClick={() => step(1)}>
              <Icon name="step" />
            </button>
            <button class="btn ico" aria-label="Next fault" title="Next fault (f)" onClick={nextFault}>
              <Icon name="flag" />
            </button>
            <Speed time={time} />
            <span id="now" aria-live={isMoving ? 'off' : 'polite'}>
              {wordless === count && 'No message to follow here · '}
              {event === undefined ? '' : lineOf(event)}
            </span>
            <span class="cap keys">space plays · ← → step · enter follows</span>
            <button class="btn ico" aria-label="Zoom out" title="Zoom out (-)" onClick={() => time.zoom(1.6)}>
              <Icon name="minus" />
            </button>
            <button class="btn ico" aria-label="Zoom in" title="Zoom in (+)" onClick={() => time.zoom(0.6)}>
              <Icon name="plus" />
            </button>
            <button class="btn ico all" title="The whole run (0)" onClick={() => time.setView([0, scale.end])}>
              all
            </button>
          </div>
          <Lanes run={run} time={time} choice={choice} choose={setChoice} />
        </section>
        <Side run={run} state={state} ms={ms} time={time} choice={choice} choose={setChoice} again={again} live={live} />
      </main>
    </>
  );
}

function useKeys(keys: Record<string, (() => void) | undefined>): void {
  const latest = useRef(keys);
  latest.current = keys;
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
      const isPressed =
        (event.key === ' ' || event.key === 'Enter') && (event.target as Element).closest('button, a, [role=button]') !== null;
      const act = latest.current[event.key];
      if (act === undefined || isPressed) return;
      event.preventDefault();
      act();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);
}

function Speed({ time: { speed, setSpeed } }: { time: Time }): VNode {
  const at = speeds.findIndex(([each]) => each === speed);
  const next = speeds[(at + 1) % speeds.length]!;
  return (
    <button class="btn ico num speed" aria-label={`Speed ${speeds[at]![1]}`} title="Speed" onClick={() => setSpeed(next[0])}>
      {speeds[at]![1]}
    </button>
  );
}

interface HeaderProps {
  run: Run;
  ms: number;
  isOver: boolean;
  time: Time;
  live: LivePage | undefined;
}

function Header({ run: { model, tracks, clock }, ms, isOver, time, live }: HeaderProps): VNode {
  const { system, seed, events, sampledFrom, live: recorded } = model.recording;
  const switchTheme = (): void => {
    const { dataset } = document.documentElement;
    dataset['theme'] = dataset['theme'] === 'dark' ? 'light' : 'dark';
  };
  const facts = [
    ...(seed === undefined ? [] : [`seed ${seed}`]),
    `${model.instances.length} process${model.instances.length === 1 ? '' : 'es'}`,
    `${events.length.toLocaleString('en')} events${sampledFrom === undefined ? '' : ` of ${sampledFrom.toLocaleString('en')}`}`,
    `${tracks.faults.length} fault${tracks.faults.length === 1 ? '' : 's'}`,
  ];
  return (
    <header>
      <h1>{system}</h1>
      {live === undefined ? <span class="mode">replay</span> : <Mode time={time} isConnected={live.isConnected} />}
      <div id="clock" class="num" role="timer" aria-label="Time of the run">
        {live === undefined ? clock(ms) : clock(ms).replace(/\..*/, '').padStart(5, '0')}
        {recorded === undefined && <small> s</small>}
      </div>
      <span class="sub">{facts.join(' · ')}</span>
      {sampledFrom !== undefined && (
        <span
          class="sampled"
          title="All around faults is kept, and every message that a fault touched. Of the others some are left out."
        >
          sampled
        </span>
      )}
      {sampledFrom === undefined && recorded?.tells === 'some' && (
        <span
          class="sampled"
          title={`Roles tell one message in a hundred, and all around faults. All of them: LAB_TRACE=all npx nx up ${system}`}
        >
          a sample of messages
        </span>
      )}
      <span class="grow" />
      {recorded?.ledger === undefined ? <Promises model={model} isOver={isOver} /> : <LedgerLine ledger={recorded.ledger} />}
      {live !== undefined && (
        <button class="btn" onClick={time.isFollowing ? time.stop : time.follow} title="Space">
          {time.isFollowing ? 'Pause' : 'To the present'}
        </button>
      )}
      {location.protocol === 'http:' && (
        <a
          class="btn"
          href="save"
          download={`${system}${seed === undefined ? '' : `-seed-${seed}`}.html`}
          title="One file that opens anywhere"
        >
          Save
        </a>
      )}
      <button class="btn ico" aria-label="Light or dark" title="Light or dark" onClick={switchTheme}>
        <Icon name="theme" />
      </button>
    </header>
  );
}

function Mode({ time, isConnected }: { time: Time; isConnected: boolean }): VNode {
  const [kind, text] = !isConnected ? ['lost', 'not connected'] : time.isFollowing ? ['on', 'live'] : ['', 'paused'];
  return (
    <span class={`mode live ${kind}`} role="status">
      <i aria-hidden="true" />
      {text}
    </span>
  );
}

function Promises({ model: { events }, isOver }: { model: Model; isOver: boolean }): VNode {
  const last = events.findLast((event) => event.type === 'promise');
  if (last?.type !== 'promise') return <span class="promise">promises: open</span>;
  const { broken, detail } = last;
  return (
    <span class={`promise${broken === undefined ? '' : ' broken'}${isOver ? ' over' : ''}`} title={detail}>
      <i aria-hidden="true" />
      {verdictLine(last, isOver)}
    </span>
  );
}
