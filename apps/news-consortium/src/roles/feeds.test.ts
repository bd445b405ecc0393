import { silentLogger } from '@lab/process';
import { eventually, FakeClock } from '@lab/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Change, Item } from '../messages.ts';
import { Refusal } from '../wire/refusal.ts';
import { Feeds, type FeedsParts, type WatcherSocket } from './feeds.ts';

describe('a watcher', () => {
  let items: Item[];
  let changes: Change[];
  /** What a reading has found it gives only then. */
  let mayGive: PromiseWithResolvers<void>;
  let readings: number;
  let clock: FakeClock;
  let feeds: Feeds;

  beforeEach(() => {
    [items, changes, readings, mayGive] = [[], [], 0, Promise.withResolvers()];
    const news: FeedsParts['news'] & FeedsParts['following'] = {
      enter: async () => ({ after: items.length, change: changes.length }),
      lastNumbers: async () => new Map([['sports', items.length + changes.length]]),
      follow: async (_, sessions, { after, change }) => {
        readings++;
        const found = [...items.filter(({ number }) => number > after), ...changes.filter((each) => each.change > change)];
        await mayGive.promise;
        return { served: true, allowed: sessions, items: found };
      },
      notServed: async () => new Refusal('not-served', 'nobody serves it'),
    };
    clock = new FakeClock();
    feeds = new Feeds({ news, following: news, clock, log: silentLogger });
  });

  function post(): void {
    items.push({ number: items.length + 1, author: 'ana', text: 'goal', postedAt: '' });
    feeds.lookAt('sports');
  }

  /** The numbers that it has got, those of changes below zero. No time passes: what it has not got at once it would get by chance. */
  function watch(after?: number, change?: number): number[] {
    const numbers: number[] = [];
    const socket: WatcherSocket = {
      send: async (frame) => {
        const { news = [] } = JSON.parse(Buffer.from(frame).toString()) as { news?: (Item | Change)[] };
        numbers.push(...news.map((told) => ('change' in told ? -told.change : told.number)));
      },
      [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined) }),
    };
    const request = { kind: 'watch', deadlineMs: 1_000, token: '', area: 'sports', after, change } as const;
    void feeds.watch({ request, asker: 'session', deadline: 1_000, peer: '' }, socket);
    return numbers;
  }

  it('goes on behind what it has had, or begins with what comes', async () => {
    mayGive.resolve();
    for (let number = 1; number <= 3; number++) post();
    const [back, fresh] = [watch(1), watch()];
    await eventually(() => back.length === 2);
    post();
    await eventually(() => back.length === 3 && fresh.length === 1);
    expect([back, fresh]).toEqual([[2, 3, 4], [4]]);
  });

  it('goes on behind the changes that it has had, wherever they were made', async () => {
    feeds.start();
    mayGive.resolve();
    post();
    changes.push({ number: 1, deleted: true, change: 1 }, { number: 1, deleted: true, change: 2 });
    const [back, fresh] = [watch(1, 1), watch()];
    await eventually(() => back.length === 1);
    changes.push({ number: 1, deleted: true, change: 3 });
    await clock.advanceAsync(100);
    await eventually(() => back.length === 2 && fresh.length === 1);
    expect([back, fresh]).toEqual([[-2, -3], [-3]]);
  });

  it('gets what was posted at another node, and where nothing was nothing is read', async () => {
    feeds.start();
    mayGive.resolve();
    const numbers = watch();
    await eventually(() => readings === 1);
    await clock.advanceAsync(1_000);
    expect(readings).toBe(1);
    items.push({ number: 1, author: 'ana', text: 'goal', postedAt: '' });
    await clock.advanceAsync(100);
    await eventually(() => numbers.length === 1);
  });

  it('gets what was posted while its feed was being read', async () => {
    const numbers = watch();
    await eventually(() => readings === 1);
    post();
    mayGive.resolve();
    await eventually(() => numbers.length === 1);
    expect(numbers).toEqual([1]);
  });
});
