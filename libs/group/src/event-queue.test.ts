import { describe, expect, test } from 'vitest';
import { EventQueue } from './event-queue.ts';
import type { GroupEvent, Message } from './port.ts';

const mebibyte = 1024 * 1024;
const message = (text: string, bytes = text.length): Message => ({
  ...{ type: 'message', sender: { id: 'a#x.0', name: 'a' }, service: 'agreed' },
  body: Buffer.concat([Buffer.from(text)], bytes),
});

describe('an event queue', () => {
  test('gives events in their order, those that wait and those that are waited for', async () => {
    const queue = new EventQueue();
    const events = ['1', '2', '3', '4'].map((text) => message(text));
    queue.push(events[0]!);
    queue.push(events[1]!);
    const taken = [queue.next(), queue.next(), queue.next(), queue.next()];
    queue.push(events[2]!);
    queue.push(events[3]!);
    expect(await Promise.all(taken)).toEqual(events.map((value) => ({ done: false, value })));
  });

  test('is full above 64 MiB, and tells when there is room', async () => {
    const queue = new EventQueue();
    queue.push({ type: 'base', state: Buffer.alloc(32 * mebibyte) });
    queue.push(message('', 31 * mebibyte));
    expect(queue.isFull).toBe(false);
    await queue.room();
    queue.push(message('', mebibyte));
    expect(queue.isFull).toBe(true);
    let hasRoom = false;
    const room = queue.room().then(() => (hasRoom = true));
    await Promise.resolve();
    expect(hasRoom).toBe(false);
    await queue.next();
    await room;
    expect(queue.isFull).toBe(false);
  });

  test('gives what there is after its end, and nothing more', async () => {
    const queue = new EventQueue();
    queue.push(message('last'));
    queue.end();
    queue.push(message('late'));
    expect((await queue.next()).value).toEqual(message('last'));
    expect(await queue.next()).toEqual({ done: true, value: undefined });
    await queue.room();
  });

  test('ends for those who wait for an event, or for room', async () => {
    const waiting = new EventQueue();
    const next = waiting.next();
    waiting.end();
    expect(await next).toEqual({ done: true, value: undefined });
    const full = new EventQueue();
    full.push(message('', 65 * mebibyte));
    const room = full.room();
    full.end();
    await room;
  });

  test('is read once, and forgets all when its reader goes', async () => {
    const queue = new EventQueue();
    for (const text of ['1', '2', '3']) queue.push(message(text));
    for await (const event of queue) {
      expect(event).toEqual(message('1'));
      break;
    }
    const large = message('', 32 * mebibyte);
    for (let count = 0; count < 3; count++) queue.push(large);
    expect(await queue.next()).toEqual({ done: true, value: undefined });
    expect(queue.isFull).toBe(false);
    expect(() => queue[Symbol.asyncIterator]()).toThrow('iterated a second time');
  });

  test('has room again when what waits is forgotten', async () => {
    const queue = new EventQueue();
    queue.push(message('', 65 * mebibyte));
    const room = queue.room();
    queue.clear();
    await room;
    queue.push(message('next'));
    expect((await queue.next()).value).toEqual(message('next'));
  });

  test('is wanted when its reader waits with nothing left to take, or will never come', async () => {
    const queue = new EventQueue();
    queue.push(message('1'));
    let isWanted = false;
    const noticed = queue.wanted().then(() => (isWanted = true));
    await queue.next();
    await Promise.resolve();
    expect(isWanted).toBe(false);
    const reading = queue.next();
    await noticed;
    await queue.wanted();
    queue.push(message('2'));
    expect((await reading).value).toEqual(message('2'));
    const unwanted = queue.wanted();
    await queue.return();
    await unwanted;
    await queue.wanted();
  });

  test('gives ten thousand events in order, whatever its reader has taken meanwhile', async () => {
    const queue = new EventQueue();
    const taken: string[] = [];
    const take = ({ value }: IteratorResult<GroupEvent>): unknown => taken.push((value as Message).body.toString());
    for (let count = 0; count < 10_000; count++) {
      queue.push(message(String(count)));
      if (count % 3 !== 0) take(await queue.next());
    }
    queue.end();
    for (let result = await queue.next(); result.done !== true; result = await queue.next()) take(result);
    expect(taken).toEqual(Array.from({ length: 10_000 }, (_, count) => String(count)));
  });
});
