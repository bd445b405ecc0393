/** Tail sampling: which of the recorded spans leave the process, now that they have ended, and how many of them in a second. */
import { kinds, statusError } from './index.ts';
import { RecordedSpan, type Recorder } from './recorder.ts';

/** How many spans before a fault are still known when it has happened: some seconds of a role that is busy. */
export const ringMax = 2_048;
/** What follows a fault leaves, too. */
export const aftermathMs = 5_000;
/** Spans that wait to leave: a ring, and what follows it. */
export const waitingMax = 2 * ringMax;

export class TailSampler {
  /** The share of traces that leave without a fault, 0 to 1. */
  readonly #share: number;
  /** So many leave in a second, at the most. */
  readonly #perSecond: number;
  readonly #nowMs: () => number;
  readonly #ring: RecordedSpan[] = [];
  #oldest = 0;
  #waiting: RecordedSpan[] = [];
  #troubledUntilMs = -Infinity;
  #leftOut = 0;

  constructor(share: number, perSecond: number, nowMs: () => number) {
    this.#share = share;
    this.#perSecond = perSecond;
    this.#nowMs = nowMs;
  }

  /** Decided by the trace where it begins, and kept to by all who come later; in an aftermath everything leaves. */
  sampled(traceId: string | undefined): boolean {
    if (this.#share === 1 || this.#troubled) return true;
    return this.#share > 0 && traceId !== undefined && Number.parseInt(traceId.slice(-6), 16) < this.#share * 2 ** 24;
  }

  get #troubled(): boolean {
    return this.#troubledUntilMs !== -Infinity && this.#nowMs() < this.#troubledUntilMs;
  }

  /** What an app wants to be seen, such as who leads, leaves at any share: a story without it tells a failover by its deaths alone. */
  ended(span: RecordedSpan): void {
    if (span.status?.code === statusError || span.attributes['lab.redelivered'] === true) this.#flushRing();
    const leaves = (span.spanContext().traceFlags & 1) !== 0 || this.#troubled || span.attributes['lab.note'] !== undefined;
    if (leaves) return this.#wait(span);
    if (this.#ring.length < ringMax) this.#ring.push(span);
    else this.#ring[this.#oldest++ % ringMax] = span;
  }

  /** Something has gone wrong: what led to it leaves, and for a while what follows. */
  #flushRing(): void {
    this.#troubledUntilMs = this.#nowMs() + aftermathMs;
    const start = this.#oldest % ringMax;
    for (const span of [...this.#ring.slice(start), ...this.#ring.slice(0, start)]) this.#wait(span);
    this.#ring.length = 0;
    this.#oldest = 0;
  }

  #wait(span: RecordedSpan): void {
    // Where more come than may leave, none of them should wait for long; but a ring is let in as a whole.
    if (this.#waiting.length < (this.#troubled ? waitingMax : Math.min(this.#perSecond, waitingMax))) this.#waiting.push(span);
    else this.#leftOut++;
  }

  /** They could not be delivered. */
  lose(count: number): void {
    this.#leftOut += count;
  }

  /** At most so many of the spans that wait, the oldest first; how many had to be left out is told in a span of its own. */
  take(most: number, recorder: Recorder): readonly RecordedSpan[] {
    const taken = this.#waiting.splice(0, most);
    if (this.#leftOut === 0 || taken.length === 0) return taken;
    const attributes = { 'lab.left_out': this.#leftOut, 'lab.note': `${this.#leftOut} spans were left out: too many to tell` };
    this.#leftOut = 0;
    const said = recorder.startSpan('left out', { kind: kinds.internal, attributes }) as RecordedSpan;
    said.endMs = said.startMs;
    return [...taken, said];
  }
}
