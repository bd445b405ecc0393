/**
 * Where events stand on the axis of time. A run is bursts with silence between them: a thousand events in some ms, then nothing for ten seconds. So each event takes a step, and a pause is as wide as its logarithm. Positions
 * follow from what is before them: what is appended moves nothing.
 */
import type { SimulationEvent } from '@lab/simulation/events';

/** What is done a thousand times and moves nothing takes little of the axis. */
const isQuiet = (event: SimulationEvent): boolean =>
  event.type === 'call' &&
  (event.to.startsWith('/') || event.call === 'declare' || event.call === 'consume' || event.call === 'read');
const quietStep = 0.3;

export interface Scale {
  /** The position of each event; they rise. */
  readonly positions: Float64Array;
  /** Of the end. */
  readonly end: number;
  /** How many events have happened at a position. */
  countAt(position: number): number;
  /** The time at a position, in ms: between two events in proportion. */
  msAt(position: number): number;
  /** The position of a time. */
  positionOf(ms: number): number;
}

export function makeScale(events: readonly SimulationEvent[]): Scale {
  const positions = new Float64Array(events.length);
  let position = 0;
  for (const [at, event] of events.entries()) {
    const pauseMs = event.ms - (events[at - 1]?.ms ?? 0);
    position += (isQuiet(event) ? quietStep : 1) + 1.5 * Math.log2(1 + pauseMs);
    positions[at] = position;
  }
  return scaleOf(events, positions, position + 1);
}

/** Positions that are played in a second: so many events, where they are close. */
export const pace = 14;

/** The axis of a system that ran on its engines: its time is even, and is played as fast as it went. */
export function makeClockScale(events: readonly SimulationEvent[], untilMs: number): Scale {
  const perMs = pace / 1_000;
  const scale = scaleOf(
    events,
    Float64Array.from(events, ({ ms }) => ms * perMs),
    Math.max(untilMs, events.at(-1)?.ms ?? 0) * perMs,
  );
  return { ...scale, msAt: (position) => position / perMs, positionOf: (ms) => ms * perMs };
}

function scaleOf(events: readonly SimulationEvent[], positions: Float64Array, end: number): Scale {
  const ms = (at: number): number => events[at]?.ms ?? 0;
  /** Between the event before and the one after, by where `value` is between what they have. */
  const between = (value: number, before: number, of: (at: number) => number, result: (at: number) => number): number => {
    if (before < 0) return result(0);
    if (before >= events.length - 1) return result(events.length - 1);
    const width = of(before + 1) - of(before);
    return result(before) + (width === 0 ? 0 : (value - of(before)) / width) * (result(before + 1) - result(before));
  };
  const place = (at: number): number => positions[at] ?? 0;
  return {
    positions,
    end,
    countAt: (value) => after(events.length, (at) => place(at) <= value),
    msAt: (value) => between(value, after(events.length, (at) => place(at) <= value) - 1, place, ms),
    positionOf: (value) => between(value, after(events.length, (at) => ms(at) <= value) - 1, ms, place),
  };
}

/** How many of the first are so; those that are so come first. */
export function after(length: number, isSo: (at: number) => boolean): number {
  let [low, high] = [0, length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isSo(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
