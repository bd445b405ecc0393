/** Times that an agent keeps: how long something has been as it is, and how late a replica is. Pure: the time is an argument, in ms on a clock that never goes back. */

/** Tells for how long a value has been the same. */
export class Unchanged {
  #value: unknown;
  #sinceMs: number;
  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  ms(value: unknown, nowMs: number): number {
    if (value !== this.#value) {
      this.#value = value;
      this.#sinceMs = nowMs;
    }
    return nowMs - this.#sinceMs;
  }
}

/** One look a round; what was received longer ago than they reach is late anyway. */
const samplesMax = 100;

/** The age of the oldest transaction that was received and not applied, to the accuracy of the looks: by the replica's own clock, whatever the primary's shows. */
export class Lag {
  #samples: { readonly atMs: number; readonly received: number }[] = [];

  see(received: number, atMs: number): void {
    if (this.#samples.at(-1)?.received !== received) this.#samples.push({ atMs, received });
    if (this.#samples.length > samplesMax) this.#samples.splice(1, 1);
  }

  ms(applied: number, nowMs: number): number {
    this.#samples = this.#samples.filter((sample, index) => sample.received > applied || index === this.#samples.length - 1);
    const oldest = this.#samples[0];
    return oldest === undefined || oldest.received <= applied ? 0 : nowMs - oldest.atMs;
  }
}
