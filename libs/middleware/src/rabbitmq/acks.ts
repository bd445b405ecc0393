/**
 * Turns the outcomes of one turn of the event loop into few acknowledgements: one `multiple` for everything up to the oldest delivery
 * that is still open, and single ones for the rest. A consumer that acknowledges late lets go of tens of thousands at once.
 */
export class AckWindow {
  readonly #send: (tag: number, multiple: boolean) => void;
  /** Open delivery tags. A set iterates in the order of insertion, so its first one is the oldest. */
  readonly #open = new Set<number>();
  #settled: number[] = [];
  #onEmpty: (() => void) | undefined;

  constructor(send: (tag: number, multiple: boolean) => void) {
    this.#send = send;
  }

  delivered(tag: number): void {
    this.#open.add(tag);
  }

  isOpen(tag: number): boolean {
    return this.#open.has(tag);
  }

  /** To be acknowledged with the next `flush`. False for a tag that is not open. */
  settle(tag: number): boolean {
    if (!this.#open.delete(tag)) return false;
    if (this.#settled.push(tag) === 1) setImmediate(() => this.flush());
    if (this.#open.size === 0) this.#onEmpty?.();
    return true;
  }

  /** It was given back, so no acknowledgement may cover it: the caller has told the broker already. False for a tag that is not open. */
  forget(tag: number): boolean {
    if (!this.#open.delete(tag)) return false;
    if (this.#open.size === 0) this.#onEmpty?.();
    return true;
  }

  /** Sends what has settled. */
  flush(): void {
    const settled = this.#settled;
    if (settled.length === 0) return;
    this.#settled = [];
    const [oldestOpen = Infinity] = this.#open;
    // Nothing below this tag is open, so one acknowledgement covers all of it.
    const upTo = settled.reduce((highest, tag) => (tag < oldestOpen && tag > highest ? tag : highest), 0);
    if (upTo > 0) this.#send(upTo, true);
    for (const tag of settled) if (tag > upTo) this.#send(tag, false);
  }

  /** Resolves when nothing is open. */
  empty(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#onEmpty = resolve));
  }

  /** The channel is gone, and its tags with it: outcomes that come later mean nothing. */
  abandon(): void {
    this.#open.clear();
    this.#settled = [];
    this.#onEmpty?.();
  }
}
