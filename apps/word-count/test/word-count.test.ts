/** The promise, under a seed: the counts are those of a plain loop, whatever dies, and whatever comes twice or late. */
import { makeMemoryServer } from '@lab/middleware';
import { silentLogger } from '@lab/process';
import { simulateSeeds } from '@lab/simulation';
import { describe, expect, it, vi } from 'vitest';
import { batchesOf, WordCount } from '../src/domain/word-count.ts';
import { batchCharactersMax, batchesMax, describeMessage, encode } from '../src/messages.ts';
import { Counter } from '../src/roles/counter.ts';
import { countWords } from '../src/roles/reader.ts';
import { simulatedWordCount } from './simulated-system.ts';

it('the counts are those of a plain loop, whatever dies, and whatever comes twice or late', () =>
  simulateSeeds(simulatedWordCount(), 200, process.env));

describe('a job', () => {
  it('that two readers ask for at once is answered once', async () => {
    const [server, lines] = [makeMemoryServer(), Array.from({ length: 5_000 }, (_, number) => `line ${number}`)];
    const broker = server.connect();
    const append = vi.spyOn(broker, 'append');
    await new Counter({ broker, log: silentLogger }).start();
    const asked = [1, 2].map(() => countWords({ broker: server.connect(), job: 'job', lines }));
    for (const counts of await Promise.all(asked)) expect(counts).toEqual({ line: 5_000 });
    expect(append).toHaveBeenCalledTimes(1);
  });

  it('is parted into batches that are bounded, with every line in one of them', () => {
    const lines = ['a'.repeat(20_000), '', ...Array.from({ length: 9_000 }, (_, number) => `line ${number}`), ''];
    const parts = batchesOf(lines, batchCharactersMax);
    expect(parts.flat()).toEqual(lines);
    const long = parts.filter((part) => part.join('\n').length > batchCharactersMax);
    expect(long).toEqual([[lines[0]]]);
    for (const few of [[''], ['', 'a']]) expect(batchesOf(few, batchCharactersMax)).toEqual([few]);
    expect(batchesOf([], batchCharactersMax)).toEqual([[]]);
  });

  it('is told apart from others in traces, by its batches and by its answer', () => {
    const told = ['load-9f-1', 'load-9f-2'].flatMap((job) => [
      describeMessage(encode({ job, number: 3, total: 4, lines: ['a'.repeat(9_000)] })),
      describeMessage(encode({ job, counts: { number: 7 } })),
    ]);
    expect(told).toEqual(['batch 3 of d-9f-1', 'answer of d-9f-1', 'batch 3 of d-9f-2', 'answer of d-9f-2']);
  });

  it('with more batches than a counter can hold is refused before anything is sent', async () => {
    const send = (): Promise<never> => Promise.reject(new Error('something was sent'));
    const lines = Array<string>(batchesMax + 1).fill('a'.repeat(batchCharactersMax));
    const asked = countWords({ broker: { declare: send, read: send, publish: send }, job: 'job', lines });
    await expect(asked).rejects.toThrow('at most 60000 are one job');
  });

  it('with more words than an answer holds is refused', () => {
    const words = new WordCount(2);
    words.add(0, ['a'.repeat(17_000_000)]);
    const addMore = (): void => words.add(1, ['b'.repeat(17_000_000)]);
    expect(addMore).toThrow('more than');
    expect(addMore).toThrow('more than');
    expect(words.complete).toBe(false);
  });
});
