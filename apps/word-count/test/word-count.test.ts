/** The promise, under a seed: the counts are those of a plain loop, whatever dies, and whatever comes twice or late. */
import { join } from 'node:path';
import { makeFaulty, makeMemoryServer, type Broker } from '@lab/middleware';
import { silentLogger, sleep, type Clock } from '@lab/process';
import { FakeClock, makeMutant, simulate, type Mistake, type Random } from '@lab/testing';
import { describe, expect, it, vi } from 'vitest';
import { batchesOf, WordCount } from '../src/domain/word-count.ts';
import { batchCharactersMax, batches } from '../src/messages.ts';
import { Counter } from '../src/roles/counter.ts';
import { countWords } from '../src/roles/reader.ts';

/** The oracle: no batches, no messages, and no second look at how the system does it. */
function plainLoop(lines: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  const words = lines.flatMap((line) => line.toLowerCase().split(/[^\p{L}]+/u));
  for (const word of words) if (word !== '') counts.set(word, (counts.get(word) ?? 0) + 1);
  return Object.fromEntries(counts);
}

function randomLines(random: Random): string[] {
  const word = (): string => random.pick(['error', 'info', 'Node', 'constructor', 'request'.repeat(500)]);
  return Array.from({ length: random.integer(1, 60) }, () => `${word()} ${'7'.repeat(random.pick([1, 3_500]))} ${word()}`);
}

/** What is sent is on its way for a while: whoever sends it may die meanwhile, and what was sent later may come earlier. */
const takingTime = (broker: Broker, clock: Clock, random: Random): Broker => ({
  ...broker,
  publish: (message) => sleep(clock, random.integer(0, 200)).then(() => broker.publish(message)),
  append: (log, body) => sleep(clock, random.integer(0, 200)).then(() => broker.append(log, body)),
});

/** Most turns of the event loop until there is an answer: ten times what any seed took. */
const turnsMax = 20_000;

/** One reader and two counters, which die and come back; resolves with the deaths when the answer is there and right. */
async function runSystem(random: Random, CounterUnderTest: typeof Counter): Promise<number> {
  const [clock, server, lines] = [new FakeClock(), makeMemoryServer(), randomLines(random)];
  let answer: Record<string, number> | undefined;
  let deaths = 0;
  /** Runs something on a connection of its own that is killed now and then, and begins again later. */
  const runMortal = (name: string, begin: (broker: Broker) => Promise<unknown>) => {
    let inner: Broker | undefined;
    let starts = 0;
    const start = (): void => {
      inner = server.connect();
      const faults = { duplicates: 0.05, delays: 0.1, delayMsMax: 500, lostAcks: 0.02 };
      const own = random.fork(`${name} ${starts++}`);
      const broker = takingTime(makeFaulty(inner, { ...faults, clock, random: own }), clock, own);
      // What a death interrupts fails; what lives must not, and is found out by its missing answer.
      begin(broker).catch(() => undefined);
    };
    start();
    return (chance: number): void => {
      if (inner === undefined || !random.chance(chance)) return;
      deaths++;
      server.kill(inner);
      inner = undefined;
      clock.after(random.integer(10, 2_000), start);
    };
  };
  const counting = (broker: Broker): Promise<void> => {
    const counter = new CounterUnderTest({ broker, log: silentLogger });
    counter.failed.catch(() => undefined);
    return counter.start();
  };
  const reading = async (broker: Broker): Promise<void> => void (answer = await countWords({ broker, job: 'job', lines }));
  const counters = [runMortal('counter a', counting), runMortal('counter b', counting)];
  const mayReaderDie = runMortal('reader', reading);
  let isAnswered = false;
  // What is still held once there is an answer would be held for ever.
  for (let turn = 0; answer === undefined || server.depth(batches) > 0; turn++) {
    if (turn > turnsMax) throw new Error(`${answer ? 'batches are held' : 'no answer'} after ${turnsMax} turns`);
    // All die once more when there is an answer: who comes then has not given it.
    const chance = answer === undefined ? 0.01 : isAnswered ? 0 : 1;
    isAnswered = answer !== undefined;
    for (const mayDie of counters) mayDie(chance);
    // Early or not at all: a reader that always comes again would make good what a counter has lost.
    mayReaderDie(turn < 20 ? 0.05 : 0);
    clock.advance(5);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(answer).toEqual(plainLoop(lines));
  return deaths;
}

const seeds = { seeds: 200, env: process.env, file: import.meta.filename };

describe('the counts are those of a plain loop', () => {
  it('whatever dies, and whatever comes twice or late', async () => {
    let deaths = 0;
    await simulate(seeds, async (random) => void (deaths += await runSystem(random, Counter)));
    if (process.env['SEED'] === undefined) expect(deaths).toBeGreaterThan(0);
  });

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
    const run = simulate({ ...seeds, env: {} }, async (random) => void (await runSystem(random, Mutant)));
    await expect(run).rejects.toThrow(/^seed \d+ failed/);
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
