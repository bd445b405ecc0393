/** The stream of one membership: what was delivered and not taken yet. */
import type { GroupEvent } from './port.ts';
import { SizedQueue } from './sized-queue.ts';

/** Above it no more is read. */
const bytesMax = 64 * 1024 * 1024;
/** What an event takes besides its body, roughly. */
const eventBytes = 200;

const done = { done: true, value: undefined } as const;

export class EventQueue implements AsyncIterableIterator<GroupEvent> {
  readonly #events = new SizedQueue<GroupEvent>();
  #waiting: ((result: IteratorResult<GroupEvent>) => void)[] = [];
  #room: (() => void)[] = [];
  #ended = false;

  push(event: GroupEvent): void {
    if (this.#ended) return;
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#events.push(event, sizeOf(event));
    else waiting({ done: false, value: event });
  }

  get isFull(): boolean {
    return this.#events.bytes > bytesMax;
  }

  /** Resolves when there is room, or nothing will be taken anymore. */
  room(): Promise<void> {
    return this.isFull && !this.#ended ? new Promise((resolve) => this.#room.push(resolve)) : Promise.resolve();
  }

  /** No more events; those that wait are still there to take. */
  end(): void {
    this.#ended = true;
    for (const waiting of this.#waiting.splice(0)) waiting(done);
    this.#makeRoom();
  }

  next(): Promise<IteratorResult<GroupEvent>> {
    const event = this.#events.shift();
    if (!this.isFull) this.#makeRoom();
    if (event !== undefined) return Promise.resolve({ done: false, value: event });
    return this.#ended ? Promise.resolve(done) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Who stops reading wants no more. */
  return(): Promise<IteratorResult<GroupEvent>> {
    this.#events.clear();
    this.end();
    return Promise.resolve(done);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #makeRoom(): void {
    for (const resolve of this.#room.splice(0)) resolve();
  }
}

function sizeOf(event: GroupEvent): number {
  if (event.type === 'message') return event.body.length + eventBytes;
  return event.type === 'base' ? (event.state?.length ?? 0) + eventBytes : eventBytes;
}
