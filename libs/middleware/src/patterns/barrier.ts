/**
 * A barrier that counts. It opens when every number of a known, finite set has been seen, in whatever order and however
 * often each came; so nothing depends on the end of a stream arriving last.
 *
 * The set is `first, first + step, first + 2 step, ...` below `end`: all batches of a topic, or the share of one shard.
 */
export class Barrier {
  readonly #seen = new Set<number>();
  readonly #first: number;
  readonly #step: number;
  #end: number | undefined;

  constructor(first = 0, step = 1) {
    this.#first = first;
    this.#step = step;
  }

  has(number: number): boolean {
    return this.#seen.has(number);
  }

  /** A repeat changes nothing. */
  add(number: number): void {
    this.#seen.add(number);
  }

  /** Makes known how many numbers there are in all. Two different ends are a broken sender. */
  close(end: number): void {
    if (this.#end !== undefined && this.#end !== end)
      throw new RangeError(`one stream, two ends: ${this.#end} and ${end} batches`);
    this.#end = end;
  }

  /** The numbers awaited, or `undefined` while the end is not known. */
  get expected(): number | undefined {
    if (this.#end === undefined) return undefined;
    return Math.max(0, Math.ceil((this.#end - this.#first) / this.#step));
  }

  get seen(): number {
    return this.#seen.size;
  }

  get open(): boolean {
    return this.#seen.size === this.expected;
  }
}
