/** The stream of one membership: what was delivered and not taken yet. */
import type { GroupEvent } from './port.ts';

/** Above it no more is read. */
const bytesMax = 64 * 1024 * 1024;
/** What an event takes besides its body, roughly. */
const eventBytes = 200;

export class EventQueue implements AsyncIterableIterator<GroupEvent> {
  #events: GroupEvent[] = [];
  #taken = 0;
  #bytes = 0;
  #waiting: ((result: IteratorResult<GroupEvent>) => void)[] = [];
  #room: (() => void)[] = [];
  #ended = false;

  push(event: GroupEvent): void {
    if (this.#ended) return;
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) return waiting({ done: false, value: event });
    this.#events.push(event);
    this.#bytes += sizeOf(event);
  }

  get isFull(): boolean {
    return this.#bytes > bytesMax;
  }

  /** Resolves when there is room, or nothing will be taken anymore. */
  room(): Promise<void> {
    return this.isFull && !this.#ended ? new Promise((resolve) => this.#room.push(resolve)) : Promise.resolve();
  }

  end(): void {
    this.#ended = true;
    for (const waiting of this.#waiting.splice(0)) waiting({ done: true, value: undefined });
    this.#makeRoom();
  }

  next(): Promise<IteratorResult<GroupEvent>> {
    const event = this.#events[this.#taken];
    if (event === undefined) {
      if (this.#ended) return Promise.resolve({ done: true, value: undefined });
      return new Promise((resolve) => this.#waiting.push(resolve));
    }
    this.#bytes -= sizeOf(event);
    if (++this.#taken > 1_000 && this.#taken * 2 > this.#events.length) this.#events = this.#events.splice(this.#taken);
    else return this.#give(event);
    this.#taken = 0;
    return this.#give(event);
  }

  return(): Promise<IteratorResult<GroupEvent>> {
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #give(event: GroupEvent): Promise<IteratorResult<GroupEvent>> {
    if (!this.isFull) this.#makeRoom();
    return Promise.resolve({ done: false, value: event });
  }

  #makeRoom(): void {
    for (const resolve of this.#room.splice(0)) resolve();
  }
}

function sizeOf(event: GroupEvent): number {
  if (event.type === 'message') return event.body.length + eventBytes;
  return event.type === 'base' ? (event.state?.length ?? 0) + eventBytes : eventBytes;
}
