/** One reader and two counters on a broker that loses connections: what dies, comes twice or late is drawn by a seed, and the counts must be those of a plain loop. */
import { isDeepStrictEqual } from 'node:util';
import { silentLogger } from '@lab/process';
import { brokerKinds, PromiseBroken, SimulatedBroker, type SimulatedSystem, type World } from '@lab/simulation';
import { seededRandom } from '@lab/testing';
import { batches, describeMessage } from '../src/messages.ts';
import { Counter } from '../src/roles/counter.ts';
import { countWords } from '../src/roles/reader.ts';

/** The oracle: no batches, no messages, and no second look at how the system does it. */
export function plainLoop(lines: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  const words = lines.flatMap((line) => line.toLowerCase().split(/[^\p{L}]+/u));
  for (const word of words) if (word !== '') counts.set(word, (counts.get(word) ?? 0) + 1);
  return Object.fromEntries(counts);
}

function linesOf({ lines, text }: Load): string[] {
  const random = seededRandom(text);
  const word = (): string => random.pick(['error', 'info', 'Node', 'constructor', 'request'.repeat(500)]);
  return Array.from({ length: lines }, () => `${word()} ${'7'.repeat(random.pick([1, 3_500]))} ${word()}`);
}

type Load = Readonly<Record<'lines' | 'text', number>>;

/** With another counter it is for proving that a mistake in it is found. */
export function simulatedWordCount(CounterUnderTest: typeof Counter = Counter): SimulatedSystem<Load> {
  return {
    name: 'word-count',
    kinds: brokerKinds,
    workload: (random) => ({ lines: random.integer(1, 60), text: random.integer(1, 1_000) }),
    least: { lines: 1, text: 1 },
    faultsForMs: 5_000,
    settleMs: 60_000,
    liveness: 'Every job is answered, and nothing of it is held after that',
    promises: ['Each word of each job is counted once'],
    prepare: async (load) => (world) => run(world, CounterUnderTest, linesOf(load)),
  };
}

async function run(world: World, CounterUnderTest: typeof Counter, lines: string[]): Promise<void> {
  const rabbitmq = new SimulatedBroker(world, describeMessage);
  for (const name of ['counter-1', 'counter-2']) {
    world.start(name, async (life) => {
      const counter = new CounterUnderTest({ broker: rabbitmq.connect(life), log: silentLogger });
      counter.failed.catch((error: unknown) => life.fail(error));
      await counter.start();
    });
  }
  const answered = Promise.withResolvers<Record<string, number>>();
  world.start('reader', async (life) => {
    answered.resolve(await countWords({ broker: rabbitmq.connect(life), job: 'job', lines }));
  });
  if (!isDeepStrictEqual(await answered.promise, plainLoop(lines)))
    throw new PromiseBroken('Each word of each job is counted once', 'the counts are not those of a plain loop');
  await world.when(() => rabbitmq.server.depth(batches) === 0);
}
