/** The faults of a recorded simulation: each can be switched off, others can be added, and then it is run again. */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { kinds, kindsAt, placeOf, type Fault, type KindName } from '@lab/simulation/faults';
import type { SimulationEvent } from '@lab/simulation/events';
import { faultText, lineOf } from '../journey.ts';
import type { Recording } from '../recording.ts';
import { seconds, type Run, type Time } from './app.tsx';
import { strong } from './side.tsx';

/** A fault that strikes when the run is run again, unless it is switched off. */
export interface Planned {
  readonly fault: Fault;
  readonly isOn: boolean;
}

export interface Again {
  readonly plan: readonly Planned[];
  setPlan(this: void, plan: readonly Planned[]): void;
  /** What came of the last time. */
  readonly told: string;
  readonly isRunning: boolean;
  start(this: void): void;
}

/** A page that was saved has no simulator behind it. */
export const canRunAgain = ({ scenario, sampledFrom }: Recording): boolean =>
  scenario !== undefined && sampledFrom === undefined && document.documentElement.dataset['again'] !== undefined;

export const planOf = ({ events }: Recording): readonly Planned[] =>
  events.flatMap((event) => (event.type === 'fault' ? [{ fault: { key: event.key, arg: event.arg }, isOn: true }] : []));

/** The run with what is on. */
export async function struckBy(plan: readonly Planned[]): Promise<Recording> {
  const faults = plan.filter(({ isOn }) => isOn).map(({ fault }) => fault);
  const response = await fetch('again', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ faults }),
  });
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as Recording;
}

/** The first event that is another one than before. */
export function firstDifference(before: readonly SimulationEvent[], after: readonly SimulationEvent[]): number | undefined {
  const at = after.findIndex((event, place) => place > 0 && JSON.stringify(event) !== JSON.stringify(before[place]));
  return at < 0 ? undefined : at;
}

export function Faults({ run: { model }, time, again }: { run: Run; time: Time; again: Again }): VNode {
  const { plan, setPlan, told, isRunning, start } = again;
  const struck = new Map(model.events.flatMap((event, at) => (event.type === 'fault' ? [[event.key, at] as const] : [])));
  const off = plan.filter(({ isOn }) => !isOn).length;
  const toggle = (place: number): void => setPlan(plan.map((each, at) => (at === place ? { ...each, isOn: !each.isOn } : each)));
  return (
    <>
      <div class="bar">
        <h2>Faults</h2>
        <span class="sub">{off === 0 ? plan.length : `${plan.length - off} of ${plan.length} on`}</span>
        <span class="grow" />
        <button class="btn" disabled={isRunning} onClick={start}>
          {isRunning ? 'Running …' : 'Run again'}
        </button>
      </div>
      <p class="sub" role="status">
        {told}
      </p>
      <ul id="faults" aria-label="Faults">
        {plan.map(({ fault, isOn }, place) => {
          const at = struck.get(fault.key);
          return (
            <li key={fault.key} class={isOn ? '' : 'off'}>
              <label>
                <input type="checkbox" checked={isOn} onChange={() => toggle(place)} />
                <span title={fault.key}>{strong(faultText(fault))}</span>
              </label>
              {at === undefined ? (
                <small>{isOn ? 'not struck' : 'off'}</small>
              ) : (
                <button class="num" onClick={() => time.seekEvent(at)} aria-label="Go there">
                  {seconds(model.events[at]!.ms)}
                </button>
              )}
            </li>
          );
        })}
      </ul>
      <Add key={time.count} event={model.events[time.count - 1]} known={model.recording.kinds ?? []} again={again} />
    </>
  );
}

/** So long, where the kind allows it. */
const usualMs = 1_000;

/** One more fault, at the event of this moment. */
function Add({ event, known, again }: { event: SimulationEvent | undefined; known: readonly KindName[]; again: Again }): VNode {
  const place = event && placeOf(event);
  const fitting = (event && kindsAt[event.type])?.filter((kind) => known.includes(kind)) ?? [];
  const [chosen, setChosen] = useState<KindName | undefined>(fitting[0]);
  if (place === undefined || chosen === undefined)
    return <p class="sub">Step to a call, a delivery or an acknowledgement to strike there.</p>;
  const [least, most] = kinds[chosen].arg;
  const add = (): void => {
    const fault = { key: `${place} ${chosen}`, arg: Math.min(most, Math.max(least, usualMs)) };
    again.setPlan([...again.plan.filter((each) => each.fault.key !== fault.key), { fault, isOn: true }]);
  };
  return (
    <div id="add">
      <span title={lineOf(event!)}>{lineOf(event!)}</span>
      <select aria-label="Fault" value={chosen} onChange={({ currentTarget }) => setChosen(currentTarget.value as KindName)}>
        {fitting.map((kind) => (
          <option key={kind}>{kind}</option>
        ))}
      </select>
      <button class="btn" onClick={add}>
        Add
      </button>
    </div>
  );
}
