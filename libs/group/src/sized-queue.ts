/** First in, first out, in constant time, and how many bytes it keeps alive. */
export class SizedQueue<Item> {
  #entries: ({ readonly item: Item; readonly bytes: number } | undefined)[] = [];
  #taken = 0;
  #bytes = 0;

  get length(): number {
    return this.#entries.length - this.#taken;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get first(): Item | undefined {
    return this.#entries[this.#taken]?.item;
  }

  push(item: Item, bytes: number): void {
    this.#entries.push({ item, bytes });
    this.#bytes += bytes;
  }

  shift(): Item | undefined {
    const entry = this.#entries[this.#taken];
    if (entry === undefined) return undefined;
    // What was taken is let go of at once: it may be large.
    this.#entries[this.#taken++] = undefined;
    this.#bytes -= entry.bytes;
    // Dropping the front half once it is used up costs each item one move at most.
    if (this.#taken === this.#entries.length || (this.#taken >= 64 && this.#taken * 2 >= this.#entries.length)) {
      this.#entries = this.#entries.slice(this.#taken);
      this.#taken = 0;
    }
    return entry.item;
  }

  clear(): void {
    this.#entries = [];
    this.#taken = 0;
    this.#bytes = 0;
  }
}
