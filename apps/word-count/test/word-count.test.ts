/** The promise, under a seed: the counts are those of a plain loop, whatever dies, and whatever comes twice or late. */
import { join } from 'node:path';
import { makeMemoryServer } from '@lab/middleware';
import { silentLogger } from '@lab/process';
import { findFailure, simulateSeeds } from '@lab/simulation';
import { makeMutant, type Mistake } from '@lab/testing';
import { describe, expect, it, vi } from 'vitest';
import { batchesOf, WordCount } from '../src/domain/word-count.ts';
import { batchCharactersMax } from '../src/messages.ts';
import { Counter } from '../src/roles/counter.ts';
import { countWords } from '../src/roles/reader.ts';
import { simulatedWordCount } from './simulated-system.ts';

describe('the counts are those of a plain loop', () => {
  it('whatever dies, and whatever comes twice or late', () => simulateSeeds(simulatedWordCount(), 200, process.env));

  const counter = (right: string, wrong: string): Mistake => ({ file: 'roles/counter.ts', right, wrong });
  const mistakes: [string, Mistake][] = [
    ['acknowledges before the answer is safe', counter('await held.settled;', '')],
    ['takes the last number for the end', counter('if (held.state.complete)', 'if (batch.number === batch.total - 1)')],
    ['forgets the answers of others', counter("read(answers, 'first')", "read(answers, 'next')")],
    ['holds what comes after the answer', counter('if (this.#answered.has(batch.job)) return;', '')],
    ['counts a repeat', { file: 'domain/word-count.ts', right: 'if (this.#seen.has(number)) return;', wrong: '' }],
  ];
  it.each(mistakes)('but not those of a counter that %s', async (_, mistake) => {
    using mutant = makeMutant(join(import.meta.dirname, '../src'), mistake);
    const { Counter: Mutant } = (await mutant.import('roles/counter.ts')) as { Counter: typeof Counter };
    const failure = await findFailure(simulatedWordCount(Mutant), 200);
    expect(failure?.scenario.faults?.length).toBeLessThanOrEqual(5);
  });
});

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

  it('with more words than an answer holds is refused', () => {
    const words = new WordCount(2);
    words.add(0, ['a'.repeat(17_000_000)]);
    const addMore = (): void => words.add(1, ['b'.repeat(17_000_000)]);
    expect(addMore).toThrow('more than');
    expect(addMore).toThrow('more than');
    expect(words.complete).toBe(false);
  });
});
