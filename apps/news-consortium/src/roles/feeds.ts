/**
 * Who watches what, and what they have had. Ten times a second a node asks which of the areas that are watched have something new: what it is, each feed reads
 * from what its watchers have had on: the number of an item, and that of a change. So a watcher that comes back with these misses nothing. Watchers that have had
 * the same share one statement, however many they are.
 *
 * A post does not notify: PostgreSQL lets transactions that do commit one after the other, whatever areas they are of.
 */
import type { Clock, Logger } from '@lab/process';
import { pageItemsMax, type Change, type Item, type Position } from '../messages.ts';
import { encode, encodeReply } from '../wire/encoding.ts';
import type { Call } from '../wire/calls.ts';
import type { Refusal } from '../wire/refusal.ts';
import { unknownArea } from '../store/areas.ts';
import type { Following } from '../store/following.ts';
import type { News } from '../store/news.ts';

/** What a feed needs of a connection. */
export interface WatcherSocket extends AsyncIterable<Uint8Array> {
  /** Resolves when there is room for more. */
  send(...parts: readonly Uint8Array[]): Promise<void>;
}

export interface FeedsParts {
  readonly news: Pick<News, 'enter' | 'notServed'>;
  readonly following: Pick<Following, 'follow' | 'lastNumbers'>;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Watcher {
  readonly call: Call<'watch'>;
  readonly socket: WatcherSocket;
  readonly end: PromiseWithResolvers<void>;
  /** It has had everything up to here. */
  had: Position;
  /** It has not taken the last frame yet; it gets the next one when it has. */
  busy: boolean;
}

interface Feed {
  readonly watchers: Set<Watcher>;
  /** How much the area had when it was asked what is new; undefined where the area was gone. */
  lastNumber: number | undefined;
  reading: boolean;
  /** Something happened since the reading began. */
  again: boolean;
}

/** So often each side says that it is there. */
export const aliveMs = 500;
/** So often it asks what is new: a watcher hears of a post within twice that. */
const askMs = 100;
/** Sessions expire without a notification. */
const reviewMs = 5_000;
const readMs = 2_000;
const alive = encode({ alive: true });

export class Feeds {
  readonly #parts: FeedsParts;
  readonly #feeds = new Map<string, Feed>();
  #asking = false;
  #stopTimers: () => void = () => undefined;

  constructor(parts: FeedsParts) {
    this.#parts = parts;
  }

  start(): void {
    const stops = [
      this.#parts.clock.every(aliveMs, () => this.#sayAlive()),
      this.#parts.clock.every(askMs, () => void this.#askWhatIsNew()),
      this.#parts.clock.every(reviewMs, () => this.lookAtAll()),
    ];
    this.#stopTimers = () => stops.forEach((stop) => stop());
  }

  /** Ends all watches; the refusal tells the watchers to go elsewhere. */
  stop(refusal: Refusal): void {
    this.#stopTimers();
    for (const { watchers } of this.#feeds.values()) for (const { end } of watchers) end.reject(refusal);
  }

  /** Serves a watcher until it leaves; throws the refusal where it may not, or may no longer, watch. */
  async watch(call: Call<'watch'>, socket: WatcherSocket): Promise<void> {
    const { area, after, change } = call.request;
    const last = await this.#parts.news.enter(call);
    const had = { after: after ?? last.after, change: change ?? last.change };
    const watcher: Watcher = { call, socket, end: Promise.withResolvers(), had, busy: false };
    await socket.send(encodeReply(had));
    const lastNumber = last.after + last.change;
    const feed = this.#feeds.get(area) ?? { watchers: new Set(), lastNumber, reading: false, again: false };
    feed.watchers.add(watcher);
    this.#feeds.set(area, feed);
    this.lookAt(area);
    try {
      await Promise.race([watcher.end.promise, untilItLeaves(socket)]);
    } finally {
      feed.watchers.delete(watcher);
      if (feed.watchers.size === 0 && this.#feeds.get(area) === feed) this.#feeds.delete(area);
    }
  }

  /** Looks at the areas that have had items since it was asked last, and at those that are gone. */
  async #askWhatIsNew(): Promise<void> {
    if (this.#asking || this.#feeds.size === 0) return;
    const { following, clock, log } = this.#parts;
    this.#asking = true;
    try {
      const lastNumbers = await following.lastNumbers([...this.#feeds.keys()], clock.nowMs() + readMs);
      for (const [area, feed] of this.#feeds) {
        if (lastNumbers.get(area) === feed.lastNumber) continue;
        feed.lastNumber = lastNumbers.get(area);
        this.lookAt(area);
      }
    } catch (error) {
      log.warn({ err: error }, 'which areas have something new could not be asked; trying again');
    } finally {
      this.#asking = false;
    }
  }

  /** Something may have happened in an area: an item, its removal, a session that was closed, a change of assignments. */
  lookAt(area: string): void {
    const feed = this.#feeds.get(area);
    if (feed === undefined) return;
    feed.again = true;
    if (!feed.reading) void this.#read(area, feed);
  }

  lookAtAll(): void {
    for (const area of this.#feeds.keys()) this.lookAt(area);
  }

  async #read(area: string, feed: Feed): Promise<void> {
    feed.reading = true;
    try {
      while (feed.again) {
        feed.again = false;
        const ready = [...feed.watchers].filter(({ busy }) => !busy);
        for (const watchers of Map.groupBy(ready, ({ had }) => `${had.after} ${had.change}`).values())
          feed.again = (await this.#serve(area, watchers)) || feed.again;
      }
    } catch (error) {
      this.#parts.log.warn({ err: error, area }, 'a feed could not be read; trying again');
      this.#parts.clock.after(aliveMs, () => this.lookAt(area));
    } finally {
      feed.reading = false;
    }
  }

  /** Gives watchers that have had the same what comes next; says whether there is still more. */
  async #serve(area: string, watchers: readonly Watcher[]): Promise<boolean> {
    const { news, following, clock } = this.#parts;
    const deadline = clock.nowMs() + readMs;
    const sessions = [...new Set(watchers.map(({ call }) => call.asker))];
    const { had } = watchers[0]!;
    const found = await following.follow(area, sessions, { ...had, limit: pageItemsMax }, deadline);
    const refusal = found === undefined ? unknownArea(area) : found.served ? undefined : await news.notServed(area, deadline);
    if (found === undefined || refusal !== undefined) {
      for (const { end } of watchers) end.reject(refusal);
      return false;
    }
    const allowed = new Set(found.allowed);
    const frame = encode({ news: found.items });
    const next = found.items.reduce(positionBehind, had);
    for (const watcher of watchers) {
      if (!allowed.has(watcher.call.asker)) this.#dismiss(watcher, deadline);
      else if (found.items.length > 0) this.#give(watcher, frame, next);
    }
    return found.items.length === pageItemsMax;
  }

  /** It takes as long as the watcher takes; nobody else waits for it. */
  #give(watcher: Watcher, frame: Uint8Array, had: Position): void {
    watcher.busy = true;
    watcher.had = had;
    watcher.socket.send(frame).then(() => {
      watcher.busy = false;
      this.lookAt(watcher.call.request.area);
    }, watcher.end.reject);
  }

  /** Ends a watch with the reason for which it would not begin again. */
  #dismiss({ call, end }: Watcher, deadline: number): void {
    this.#parts.news.enter({ ...call, deadline }).then(() => this.lookAt(call.request.area), end.reject);
  }

  #sayAlive(): void {
    for (const { watchers } of this.#feeds.values())
      for (const watcher of watchers) if (!watcher.busy) watcher.socket.send(alive).catch(watcher.end.reject);
  }
}

const positionBehind = (had: Position, told: Item | Change): Position =>
  'change' in told ? { ...had, change: told.change } : { ...had, after: told.number };

/** Its signs of life are read and dropped: when they stop for long, the connection ends. */
async function untilItLeaves(socket: WatcherSocket): Promise<void> {
  const signs = socket[Symbol.asyncIterator]();
  while (!(await signs.next()).done);
}
