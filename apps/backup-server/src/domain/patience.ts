/** With a node that says that it works: others wait for the requester that listens to it. */
import type { Progress } from './registry.ts';

/** A node that gets no further for so long, or is not done after so long, is given up. */
const stillMsMax = 3_600_000;
const attemptMsMax = 86_400_000;

export class Patience {
  readonly #begunMs: number;
  #moved: { sum: number; ms: number };

  constructor(nowMs: number) {
    this.#begunMs = nowMs;
    this.#moved = { sum: -1, ms: nowMs };
  }

  /** Why it is at an end, if it is. */
  endOf({ files, bytes, sentBytes }: Progress, nowMs: number): Error | undefined {
    const sum = files + bytes + sentBytes;
    if (sum > this.#moved.sum) this.#moved = { sum, ms: nowMs };
    if (nowMs - this.#moved.ms > stillMsMax) return new Error(`the node has got no further for ${stillMsMax / 60_000} minutes`);
    if (nowMs - this.#begunMs > attemptMsMax) return new Error(`the backup was not done after ${attemptMsMax / 3_600_000} hours`);
    return undefined;
  }
}
