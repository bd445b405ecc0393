/** Below this an array is moved faster than counted. */
const compactAt = 1024;

/** First in, first out, in constant time on average. What has been taken is no longer held, even if the queue never runs empty. */
export class Fifo<T> implements Iterable<T> {
  #items: (T | undefined)[] = [];
  #first = 0;

  get length(): number {
    return this.#items.length - this.#first;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    if (this.length === 0) return undefined;
    const item = this.#items[this.#first];
    this.#items[this.#first] = undefined;
    this.#first += 1;
    if (this.#first === this.#items.length) this.#keep([]);
    else if (this.#first >= compactAt && this.#first * 2 >= this.#items.length) this.#keep(this.#items.slice(this.#first));
    return item;
  }

  /** Takes everything out. */
  drain(): T[] {
    const items = this.#items.slice(this.#first) as T[];
    this.#keep([]);
    return items;
  }

  /** What is in it, from the oldest on; nothing is taken. */
  *[Symbol.iterator](): Iterator<T> {
    for (let index = this.#first; index < this.#items.length; index++) yield this.#items[index]!;
  }

  #keep(items: (T | undefined)[]): void {
    this.#items = items;
    this.#first = 0;
  }
}
