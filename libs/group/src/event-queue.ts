/** The stream of one membership: what was delivered and not taken yet. Those who fill it cannot wait, its reader takes its time. */
import type { GroupEvent } from './port.ts';
import { SizedQueue } from './sized-queue.ts';

/** What the port says: above it no more is read. */
export const eventBytesMax = 64 * 1024 * 1024;
/** About what an event takes besides its body, and what a member takes in a view. */
const eventBytes = 256;
const memberBytes = 128;

type Result = IteratorResult<GroupEvent, undefined>;
const done: Result = { done: true, value: undefined };

export class EventQueue implements AsyncIterableIterator<GroupEvent> {
  readonly #events = new SizedQueue<GroupEvent>();
  #readers: ((result: Result) => void)[] = [];
  #room: (() => void)[] = [];
  #wanted: (() => void)[] = [];
  #ended = false;
  #iterated = false;

  /** Takes it even when it is full: who pushes looks at `isFull` afterwards. */
  push(event: GroupEvent): void {
    if (this.#ended) return;
    const reader = this.#readers.shift();
    if (reader === undefined) this.#events.push(event, sizeOf(event));
    else reader({ done: false, value: event });
  }

  get isFull(): boolean {
    return this.#events.bytes > eventBytesMax;
  }

  /** Resolves when there is room, or nothing will be taken anymore. */
  room(): Promise<void> {
    return this.isFull && !this.#ended ? new Promise((resolve) => this.#room.push(resolve)) : Promise.resolve();
  }

  /** Resolves when the reader has taken all and waits for more, or will never come. */
  wanted(): Promise<void> {
    return this.#ended || this.#readers.length > 0
      ? Promise.resolve()
      : new Promise((resolve) => void this.#wanted.push(resolve));
  }

  /** Forgets what waits. */
  clear(): void {
    this.#events.clear();
    wake(this.#room);
  }

  /** No more events; those that wait are still there to take. */
  end(): void {
    this.#ended = true;
    for (const reader of this.#readers.splice(0)) reader(done);
    wake(this.#room);
    wake(this.#wanted);
  }

  next(): Promise<Result> {
    const event = this.#events.shift();
    if (!this.isFull) wake(this.#room);
    if (event !== undefined) return Promise.resolve({ done: false, value: event });
    if (this.#ended) return Promise.resolve(done);
    wake(this.#wanted);
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  /** Who stops reading wants no more: what comes is dropped. */
  return(): Promise<Result> {
    this.clear();
    this.end();
    return Promise.resolve(done);
  }

  [Symbol.asyncIterator](): this {
    if (this.#iterated) throw new Error('the events of a membership are iterated a second time: they are there once');
    this.#iterated = true;
    return this;
  }
}

const wake = (waiting: (() => void)[]): void => waiting.splice(0).forEach((resolve) => resolve());

function sizeOf(event: GroupEvent): number {
  switch (event.type) {
    case 'message':
      return event.body.length + eventBytes;
    case 'base':
      return (event.state?.length ?? 0) + eventBytes;
    case 'view':
      return event.members.length * memberBytes + eventBytes;
    case 'checkpoint':
      return eventBytes;
  }
}
