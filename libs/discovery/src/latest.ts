/** An iterator over what was pushed that keeps the newest only: a slow reader misses what came in between, never the last. */
export class Latest<Value> implements AsyncIterableIterator<Value> {
  readonly #onEnd: () => void;
  #newest: { value: Value } | undefined;
  #ended = false;
  #waiting: ((result: IteratorResult<Value>) => void)[] = [];

  /** `onEnd` is called once, whoever ended it. */
  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  push(value: Value): void {
    if (this.#ended) return;
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#newest = { value };
    else waiting({ done: false, value });
  }

  /** Whoever waits is told; what was not taken is dropped. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#newest = undefined;
    for (const waiting of this.#waiting.splice(0)) waiting({ done: true, value: undefined });
    this.#onEnd();
  }

  next(): Promise<IteratorResult<Value>> {
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    if (this.#newest === undefined) return new Promise((resolve) => this.#waiting.push(resolve));
    const { value } = this.#newest;
    this.#newest = undefined;
    return Promise.resolve({ done: false, value });
  }

  return(): Promise<IteratorResult<Value>> {
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }
}
