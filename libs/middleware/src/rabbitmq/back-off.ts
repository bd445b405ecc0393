/** Exponential back-off with full jitter: clients that lost one broker together do not come back together. */
export class BackOff {
  readonly #random: () => number;
  #attempt = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** The next delay, in 0..5,000 ms. */
  nextMs(): number {
    // From 100 ms, less than a restart takes, to 5 s, what a client may lag behind a broker that is back.
    return this.#random() * Math.min(5_000, 100 * 2 ** this.#attempt++);
  }

  reset(): void {
    this.#attempt = 0;
  }
}
