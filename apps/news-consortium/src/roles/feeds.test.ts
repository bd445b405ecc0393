import { silentLogger } from '@lab/process';
import { eventually, FakeClock } from '@lab/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Item } from '../messages.ts';
import { Refusal } from '../wire/refusal.ts';
import { Feeds, type FeedsParts, type WatcherSocket } from './feeds.ts';

describe('a watcher', () => {
  let items: Item[];
  /** What a reading has found it gives only then. */
  let mayGive: PromiseWithResolvers<void>;
  let readings: number;
  let clock: FakeClock;
  let feeds: Feeds;

  beforeEach(() => {
    [items, readings, mayGive] = [[], 0, Promise.withResolvers()];
    const news: FeedsParts['news'] = {
      enter: async () => items.length,
      lastNumbers: async () => new Map([['sports', items.length]]),
      follow: async (_, sessions, { after }) => {
        readings++;
        const found = items.filter(({ number }) => number > after);
        await mayGive.promise;
        return { served: true, allowed: sessions, items: found };
      },
      notServed: async () => new Refusal('not-served', 'nobody serves it'),
    };
    clock = new FakeClock();
    feeds = new Feeds({ news, clock, log: silentLogger });
  });

  function post(): void {
    items.push({ number: items.length + 1, author: 'ana', text: 'goal', postedAt: '' });
    feeds.lookAt('sports');
  }

  /** The numbers that it has got. No time passes: what it has not got at once it would get by chance. */
  function watch(after?: number): number[] {
    const numbers: number[] = [];
    const socket: WatcherSocket = {
      send: async (frame) => {
        const { news = [] } = JSON.parse(Buffer.from(frame).toString()) as { news?: Item[] };
        numbers.push(...news.map(({ number }) => number));
      },
      [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined) }),
    };
    const request = { kind: 'watch', deadlineMs: 1_000, token: '', area: 'sports', after } as const;
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
