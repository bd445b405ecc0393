import type { SimulationEvent } from '@lab/simulation/events';

/** Puts an event where its time is, behind those of the same time. It is mostly the last. */
export function insert(events: SimulationEvent[], event: SimulationEvent): void {
  let at = events.length;
  while (at > 0 && events[at - 1]!.ms > event.ms) at--;
  events.splice(at, 0, event);
}
