/** What grows as a run goes on, at its server and on its page alike. */
import type { SimulationEvent } from '@lab/simulation/events';
import type { Depths } from './recording.ts';

/** Puts an event where its time is, behind those of the same time. It is mostly the last. */
export function insert(events: SimulationEvent[], event: SimulationEvent): void {
  let at = events.length;
  while (at > 0 && events[at - 1]!.ms > event.ms) at--;
  events.splice(at, 0, event);
}

/** What the broker counted says nothing of a moment that is later than so. */
export const depthsMs = 10_000;
const depthsMax = 600;

/** One more sample behind the others. Where there are too many, those stay that say something of each moment; then the oldest go. */
export function insertDepths(samples: readonly Depths[], last: Depths): Depths[] {
  const all = [...samples, last];
  if (all.length <= depthsMax) return all;
  let keptMs = -Infinity;
  const thin = all.filter(({ ms }, at) => {
    const isNeeded = (all[at + 1]?.ms ?? Infinity) - keptMs > depthsMs;
    if (isNeeded) keptMs = ms;
    return isNeeded;
  });
  return thin.slice(-0.8 * depthsMax);
}
