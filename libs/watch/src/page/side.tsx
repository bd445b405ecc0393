/** Beside map and time: the journey of the chosen message, what a chosen instance or queue has and had, or the story of the run; all in words. */
import type { VNode } from 'preact';
import { useLayoutEffect, useMemo, useRef } from 'preact/hooks';
import { daysOf, depthText, holdsText, journeyOf, storyOf, type Row } from '../journey.ts';
import { depthOf, statusOf, type Depth, type State } from '../model.ts';
import { after } from '../scale.ts';
import type { Choice, LivePage, Run, Time } from './app.tsx';
import { Break, Metrics } from './break.tsx';
import { Faults, planOf, type Again } from './faults.tsx';
import { Icon, shapes } from './icons.tsx';
import { Promises } from './promises.tsx';

interface Props {
  run: Run;
  state: State;
  ms: number;
  time: Time;
  choice: Choice;
  choose: (choice: Choice) => void;
}

interface Told {
  kicker: string;
  title: string;
  sub: string;
  rows: readonly Row[];
}

export function Side(props: Props & { again: Again | undefined; live: LivePage | undefined }): VNode {
  const { run, choice, choose, time, again, live, state, ms } = props;
  const { ledger } = run.model.recording.live ?? {};
  const instance = choice !== undefined && 'instance' in choice ? choice.instance : undefined;
  const { seed } = run.model.recording;
  const told = useMemo(() => toldOf(run, choice), [run, choice]);
  return (
    <aside>
      <section id="journey" aria-label="Journey">
        <div class="bar">
          <h2>{told.kicker}</h2>
          <span class="grow" />
          {choice !== undefined && (
            <button class="btn ico" aria-label="Clear the choice" title="Clear (esc)" onClick={() => choose(undefined)}>
              <Icon name="close" />
            </button>
          )}
        </div>
        <p id="title">{told.title}</p>
        <p id="sub">
          {choice !== undefined && 'instance' in choice ? <InstanceNow {...props} instance={choice.instance} /> : told.sub}
        </p>
        {instance !== undefined && live?.breaking !== undefined && <Metrics role={run.model.instances[instance]!.name} />}
        {choice !== undefined && 'queues' in choice ? (
          <>
            <Depths run={run} time={props.time} queues={choice.queues} />
            <QueueNow {...props} queues={choice.queues} />
          </>
        ) : (
          <Rows {...props} rows={told.rows} />
        )}
      </section>
      {ledger !== undefined && <Promises ledger={ledger} />}
      {live?.breaking !== undefined && (
        <Break
          run={run}
          state={state}
          ms={ms}
          breaking={live.breaking}
          target={instance}
          choose={(each) => choose({ instance: each })}
        />
      )}
      {(again !== undefined || seed !== undefined) && (
        <section id="again" aria-label="The same run again">
          {again === undefined ? <h2>The same run again</h2> : <Faults run={run} time={time} again={again} />}
          <Command run={run} />
        </section>
      )}
    </aside>
  );
}

function toldOf({ model }: Run, choice: Choice): Told {
  if (choice === undefined)
    return {
      kicker: 'Journey',
      title: 'The story of this run',
      sub: 'Choose a message in the lanes to follow it, or a box of the map.',
      rows: storyOf(model),
    };
  if ('message' in choice) {
    const rows = journeyOf(model, choice.message);
    const [first, last] = [rows[0], rows.at(-1)];
    const tries = Math.max(1, ...rows.map(({ text }) => Number(/\(try (\d+)\)/.exec(text)?.[1] ?? 1)));
    const tookMs = first === undefined ? 0 : last!.ms - first.ms;
    const sub = `${rows.length} steps · ${Math.round(tookMs)} ms from first to last${tries > 1 ? ` · ${tries} tries` : ''}`;
    return { kicker: 'Journey', title: choice.message, sub, rows };
  }
  if ('instance' in choice)
    return { kicker: 'Process', title: model.instances[choice.instance]!.name, sub: '', rows: daysOf(model, choice.instance) };
  const names = choice.queues.map((queue) => model.queues[queue]!.name);
  return {
    kicker: names.length > 1 ? 'Queues' : 'Queue',
    title: names.length > 1 ? `${names.length} queues` : names[0]!,
    sub: '',
    rows: [],
  };
}

function InstanceNow({ run, instance, state, ms }: Props & { instance: number }): VNode {
  const own = state.instances[instance]!;
  const parts = [
    statusOf(own, ms) === 'up' ? 'alive' : statusOf(own, ms),
    ...(own.life > 1 ? [`life ${own.life}`] : []),
    ...(own.leads ? ['leads'] : []),
    holdsText(own.holds.length, run.model.recording),
    own.note,
  ];
  return <>{parts.filter(Boolean).join(' · ')}</>;
}

/** Moments of the run at which a depth is drawn. */
const moments = 150;

/** How deep queues were all along: held below, ready above; nothing where that is not known. */
function Depths({ run: { model, scale }, time, queues }: { run: Run; time: Time; queues: readonly number[] }): VNode {
  const { held, all, most } = useMemo(() => {
    const depths = Array.from({ length: moments + 1 }, (_, at) => {
      const position = (at / moments) * scale.end;
      const depth = depthOf(model, model.stateAt(scale.countAt(position)), queues, scale.msAt(position));
      return depth === undefined ? { held: 0, all: 0 } : { held: depth.held, all: depth.ready + depth.held };
    });
    const highest = Math.max(1, ...depths.map((depth) => depth.all));
    const area = (of: 'held' | 'all'): string =>
      `M0 60${depths.map((depth, at) => `L${at} ${60 - (depth[of] / highest) * 52}`).join('')}L${moments} 60z`;
    return { held: area('held'), all: area('all'), most: highest };
  }, [model, queues]);
  const now = (time.position / scale.end) * moments;
  return (
    <>
      <svg
        class="depths"
        viewBox={`0 0 ${moments} 62`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`Depth all along the run, at most ${most}`}
      >
        <path class="ready" d={all} />
        <path class="held" d={held} />
        <path class="now" d={`M${now} 0V62`} />
      </svg>
      <p id="sub">all along the run, at most {most}</p>
    </>
  );
}

/** Queues and messages that are listed. */
const listed = 14;

function QueueNow({ queues, run: { model }, state, ms, choose }: Props & { queues: readonly number[] }): VNode {
  const isWhole = model.recording.live?.tells !== 'some';
  const entriesOf = (queue: number): number => state.queues[queue]!.entries;
  const depthNow = (queue: number): Depth | undefined => depthOf(model, state, [queue], ms);
  const shown = queues.filter(
    (queue) => entriesOf(queue) + state.queues[queue]!.held + (depthNow(queue)?.ready ?? 0) + (depthNow(queue)?.held ?? 0) > 0,
  );
  return (
    <ul class="queues">
      {(shown.length > 0 ? shown : queues.slice(0, 1)).slice(0, listed).map((queue) => {
        const { name, isLog } = model.queues[queue]!;
        const { waiting } = state.queues[queue]!;
        const ready = [...waiting].flatMap(([message, count]) => (count > 0 ? [{ message, by: 'ready' }] : []));
        const taken = state.instances.flatMap(({ holds }, at) =>
          holds
            .filter((each) => each.queue === queue)
            .map(({ message }) => ({ message, by: `held by ${model.instances[at]!.name}` })),
        );
        const depth = depthNow(queue);
        const messages = isLog ? [] : [...taken, ...ready].filter(({ message }) => model.messages.has(message));
        return (
          <li key={queue}>
            <code>{name}</code>
            <span class="num">
              {depthText(depth, isLog)}
              {depth?.rate !== undefined && `, ${depth.rate} a second`}
              {isWhole && !isLog && `, ${depth?.isAbout === true ? '~' : ''}${entriesOf(queue)} came in`}
              {!isWhole && messages.length > 0 && '; of them were traced:'}
            </span>
            <ol>
              {messages.slice(0, listed).map(({ message, by }, at) => (
                <li key={at}>
                  <button onClick={() => choose({ message })}>{message}</button> <small>{by}</small>
                </li>
              ))}
              {messages.length > listed && <li>and {messages.length - listed} more</li>}
            </ol>
          </li>
        );
      })}
      {shown.length > listed && <li>and {shown.length - listed} more queues</li>}
    </ul>
  );
}

function Rows({ run, rows, time, choice, choose }: Props & { rows: readonly Row[] }): VNode {
  const list = useRef<HTMLOListElement>(null);
  const { count } = time;
  const current = after(rows.length, (at) => rows[at]!.at < count) - 1;
  useLayoutEffect(() => {
    const [own, row] = [list.current!, list.current!.children[current] as HTMLElement | undefined];
    if (row === undefined) return void (own.scrollTop = 0);
    const { offsetTop, offsetHeight } = row;
    if (offsetTop < own.scrollTop || offsetTop + offsetHeight > own.scrollTop + own.clientHeight - 60)
      own.scrollTop = offsetTop - own.clientHeight / 2;
  }, [current, rows]);
  return (
    <ol id="rows" ref={list} class={time.isFollowing ? 'live' : ''} aria-label="Step by step">
      {rows.map((row, at) => (
        <li
          key={at}
          class={`${row.kind}${row.at >= count ? ' ahead' : ''}${at === current ? ' current' : ''}`}
          aria-current={at === current ? 'step' : undefined}
        >
          <button
            onClick={() => {
              time.stop();
              time.seekEvent(row.at);
              if (row.message !== undefined && choice === undefined) choose({ message: row.message });
            }}
          >
            <span class="t num">{run.clock(row.ms)}</span>
            <span class="m">
              <svg viewBox="0 0 12 12" aria-hidden="true">
                {shapes[row.kind]}
              </svg>
            </span>
            <span class="w">
              <span>{strong(row.text)}</span>
              {row.detail !== '' && <small>{row.detail}</small>}
            </span>
          </button>
        </li>
      ))}
    </ol>
  );
}

/** What stands between stars. */
export const strong = (text: string): (string | VNode)[] =>
  text.split('*').map((part, at) => (at % 2 === 1 ? <b key={at}>{part}</b> : part));

/** How to have this run again without a page: by its seed, or by a file with the list of its faults. */
function Command({ run: { model } }: { run: Run }): VNode {
  const { system, seed, scenario } = model.recording;
  if (seed !== undefined || scenario === undefined)
    return <code>{`npx nx simulate ${system}${seed === undefined ? '' : ` --seed ${seed}`}`}</code>;
  const list = {
    format: 'lab-faults',
    version: 1,
    system,
    ...scenario,
    faults: planOf(model.recording).map(({ fault }) => fault),
  };
  return (
    <code>
      npx nx simulate {system} --faults{' '}
      <a href={`data:application/json,${encodeURIComponent(JSON.stringify(list))}`} download="faults.json">
        faults.json
      </a>
    </code>
  );
}
