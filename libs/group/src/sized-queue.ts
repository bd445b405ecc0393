import { Fifo } from '@lab/process/fifo';

/** First in, first out, in constant time, and how many bytes it keeps alive. */
export class SizedQueue<Item> {
  readonly #entries = new Fifo<{ readonly item: Item; readonly bytes: number }>();
  #bytes = 0;

  get length(): number {
    return this.#entries.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get first(): Item | undefined {
    for (const { item } of this.#entries) return item;
    return undefined;
  }

  push(item: Item, bytes: number): void {
    this.#entries.push({ item, bytes });
    this.#bytes += bytes;
  }

  shift(): Item | undefined {
    const entry = this.#entries.shift();
    this.#bytes -= entry?.bytes ?? 0;
    return entry?.item;
  }

  clear(): void {
    this.#entries.drain();
    this.#bytes = 0;
  }
}
