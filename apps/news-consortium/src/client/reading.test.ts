import { describe, expect, it } from 'vitest';
import type { Item } from '../messages.ts';
import { showUnread, takeUnread, type UnreadPage } from './reading.ts';

const item = (number: number): Item => ({ number, author: 'ana', text: `news ${number}`, postedAt: '2026-11-21T18:38:00.000Z' });

/** A reader to whom these pages are offered, one after the other, then nothing; it writes down what happens. */
class ScriptedReader {
  readonly trace: string[] = [];
  readonly #pages: number[][];
  readonly #held: Pick<UnreadPage, 'held' | 'heldMs'>;
  constructor(pages: number[][], held = { held: 0, heldMs: 0 }) {
    this.#pages = pages;
    this.#held = held;
  }
  async unread(): Promise<UnreadPage> {
    return { items: (this.#pages.shift() ?? []).map(item), leaseMs: 500, ...this.#held };
  }
  async mark(_: string, items: readonly Item[]): Promise<void> {
    this.trace.push(`mark ${items.map(({ number }) => number).join(' ')}`);
  }
  readonly show = async (items: readonly Item[]): Promise<void> => {
    this.trace.push(`show ${items.map(({ number }) => number).join(' ')}`);
  };
}

describe('showUnread', () => {
  it('marks each page after it was shown, and says at the end what others hold', async () => {
    const reader = new ScriptedReader([[1, 2], [5]], { held: 2, heldMs: 300 });
    expect(await showUnread(reader, 'sports', reader.show)).toEqual({ count: 3, held: 2, heldMs: 300 });
    expect(reader.trace).toEqual(['show 1 2', 'mark 1 2', 'show 5', 'mark 5']);
  });

  it('does not mark what could not be shown', async () => {
    const reader = new ScriptedReader([[1, 2]]);
    await expect(showUnread(reader, 'sports', () => Promise.reject(new Error('nobody reads')))).rejects.toThrow('nobody reads');
    expect(reader.trace).toEqual([]);
  });
});

describe('takeUnread', () => {
  it('takes every page and marks nothing', async () => {
    const reader = new ScriptedReader([[1, 2], [3], [4]]);
    expect((await takeUnread(reader, 'sports')).items.map(({ number }) => number)).toEqual([1, 2, 3, 4]);
    expect(reader.trace).toEqual([]);
  });

  it('ends, with each item once, where leases are shorter than it takes', async () => {
    const reader = new ScriptedReader([[2, 3], [1, 2], [1, 2, 3], [1]]);
    expect((await takeUnread(reader, 'sports')).items.map(({ number }) => number)).toEqual([1, 2, 3]);
  });
});
