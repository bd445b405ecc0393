import type { GroupEvent } from '../port.ts';
import { SizedQueue } from '../sized-queue.ts';

/** About what an event takes beside its bytes. */
const eventBytes = 256;

type Result = IteratorResult<GroupEvent, undefined>;
const done: Result = { done: true, value: undefined };

/** Events between a session, which cannot wait, and a reader, which takes its time. */
export class EventBuffer implements AsyncIterableIterator<GroupEvent> {
  readonly #bytesMax: number;
  readonly #events = new SizedQueue<GroupEvent>();
  #readers: PromiseWithResolvers<Result>[] = [];
  #wanted: PromiseWithResolvers<void> | undefined;
  #over = false;
  #iterated = false;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** `bytes`: what the event keeps alive. False when there is no room: the event is lost then. */
  push(event: GroupEvent, bytes: number): boolean {
    if (this.#over) return true;
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      reader.resolve({ done: false, value: event });
      return true;
    }
    if (this.#events.bytes + bytes + eventBytes > this.#bytesMax) return false;
    this.#events.push(event, bytes + eventBytes);
    return true;
  }

  clear(): void {
    this.#events.clear();
  }

  /** No more events; those that wait are still there to take. */
  end(): void {
    this.#over = true;
    this.#wanted?.resolve();
    for (const reader of this.#readers.splice(0)) reader.resolve(done);
  }

  /** Resolves when a reader has taken all and waits for more, or will never come. */
  async wanted(): Promise<void> {
    if (this.#over || this.#readers.length > 0) return;
    this.#wanted ??= Promise.withResolvers<void>();
    await this.#wanted.promise;
  }

  [Symbol.asyncIterator](): this {
    if (this.#iterated) throw new Error('the events of a membership are iterated a second time: they are there once');
    this.#iterated = true;
    return this;
  }

  async next(): Promise<Result> {
    const event = this.#events.shift();
    if (event !== undefined) return { done: false, value: event };
    if (this.#over) return done;
    const reader = Promise.withResolvers<Result>();
    this.#readers.push(reader);
    this.#wanted?.resolve();
    this.#wanted = undefined;
    return reader.promise;
  }

  /** Who stops reading wants no more: what comes is dropped. */
  async return(): Promise<Result> {
    this.clear();
    this.end();
    return done;
  }
}
