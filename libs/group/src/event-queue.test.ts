import { describe, expect, test } from 'vitest';
import { EventQueue } from './event-queue.ts';
import type { Message } from './port.ts';

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

  test('forgets all when its reader goes', async () => {
    const queue = new EventQueue();
    for (const text of ['1', '2', '3']) queue.push(message(text));
    for await (const event of queue) {
      expect(event).toEqual(message('1'));
      break;
    }
    expect(await queue.next()).toEqual({ done: true, value: undefined });
    expect(queue.isFull).toBe(false);
  });
});
