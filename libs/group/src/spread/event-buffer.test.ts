import { describe, expect, it } from 'vitest';
import type { GroupEvent } from '../port.ts';
import { EventBuffer } from './event-buffer.ts';

const message = (text: string): GroupEvent => ({
  type: 'message',
  sender: { id: '#a#one', name: 'a' },
  service: 'fifo',
  body: Buffer.from(text),
});
const [one, two, three] = [message('1'), message('2'), message('3')];
const done = { done: true, value: undefined };

describe('an event buffer', () => {
  it('gives events in order, to a reader that came before them or after', async () => {
    const events = new EventBuffer(10_000);
    const early = events.next();
    for (const event of [one, two, three]) events.push(event, 1);
    expect(await early).toEqual({ done: false, value: one });
    expect([await events.next(), await events.next()].map(({ value }) => value)).toEqual([two, three]);
  });

  it('gives what waits before it ends, and then the end to everyone', async () => {
    const events = new EventBuffer(10_000);
    events.push(one, 1);
    events.end();
    expect(events.push(two, 1)).toBe(true);
    expect(await events.next()).toEqual({ done: false, value: one });
    expect(await events.next()).toEqual(done);
    const other = new EventBuffer(10_000);
    const readers = [other.next(), other.next()];
    other.end();
    expect(await Promise.all(readers)).toEqual([done, done]);
  });

  it('has no room above its bound, and some again when an event was taken', async () => {
    const events = new EventBuffer(1_000);
    expect(events.push(one, 700)).toBe(true);
    expect(events.push(two, 0)).toBe(false);
    await events.next();
    expect(events.push(three, 700)).toBe(true);
  });

  it('is wanted when a reader waits with nothing left to take', async () => {
    const events = new EventBuffer(1_000);
    events.push(one, 1);
    let wanted = false;
    const noticed = events.wanted().then(() => (wanted = true));
    await events.next();
    await Promise.resolve();
    expect(wanted).toBe(false);
    const reader = events.next();
    await noticed;
    await events.wanted();
    events.push(two, 1);
    expect(await reader).toEqual({ done: false, value: two });
  });

  it('is wanted by nobody anymore when the reader has stopped, which is no reason to wait', async () => {
    const events = new EventBuffer(1_000);
    const wanted = events.wanted();
    await events.return();
    await wanted;
    await events.wanted();
  });

  it('is read once, and drops what comes after the reader has stopped', async () => {
    const events = new EventBuffer(1_000);
    events.push(one, 1);
    for await (const event of events) {
      expect(event).toBe(one);
      break;
    }
    for (let count = 0; count < 10; count++) expect(events.push(two, 900)).toBe(true);
    expect(await events.next()).toEqual(done);
    expect(() => events[Symbol.asyncIterator]()).toThrow('iterated a second time');
  });

  it('gives ten thousand events in order, whatever the reader has taken meanwhile', async () => {
    const events = new EventBuffer(10_000_000);
    const taken: string[] = [];
    for (let count = 0; count < 10_000; count++) {
      events.push(message(String(count)), 1);
      if (count % 3 !== 0) taken.push(textOf((await events.next()).value));
    }
    events.end();
    for await (const event of events) taken.push(textOf(event));
    expect(taken).toEqual(Array.from({ length: 10_000 }, (_, count) => String(count)));
  });
});

function textOf(event: GroupEvent | undefined): string {
  return event?.type === 'message' ? String(event.body) : `no message: ${event?.type}`;
}
