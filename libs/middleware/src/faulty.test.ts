import { FakeClock, seededRandom } from '@lab/testing';
import { describe, expect, test } from 'vitest';
import { brokerContract } from './contract.ts';
import { makeFaulty, type Faults } from './faulty.ts';
import { makeMemoryServer } from './memory/server.ts';
import type { Broker, Delivery } from './port.ts';

const neverRandom = {
  next: (): number => {
    throw new Error('a broker without faults asked for chance');
  },
};
const noClock = {
  after: (): void => {
    throw new Error('a broker without faults asked for time');
  },
};

brokerContract('faulty with no faults', async () => {
  const server = makeMemoryServer();
  const inner = new Map<Broker, Broker>();
  return {
    connect: async () => {
      const broker = server.connect();
      const faulty = makeFaulty(broker, { random: neverRandom, clock: noClock });
      inner.set(faulty, broker);
      return faulty;
    },
    kill: async (faulty) => server.kill(inner.get(faulty) ?? faulty),
    stop: async () => {},
  };
});

/** What a role saw of 50 numbered messages in each of two queues, as `queue:body`, with an asterisk where it was redelivered. */
async function historyOf(seed: number, chances: Omit<Faults, 'random' | 'clock'>): Promise<string[]> {
  const clock = new FakeClock();
  const broker = makeFaulty(makeMemoryServer().connect(), { random: seededRandom(seed), clock, ...chances });
  await broker.declare({
    queues: [{ name: 'dead' }, { name: 'a', deadLetterQueue: 'dead' }, { name: 'b', deadLetterQueue: 'dead' }],
  });
  const history: string[] = [];
  const note = ({ queue, body, redelivered }: Delivery): void =>
    void history.push(`${queue}:${body.toString()}${redelivered ? '*' : ''}`);
  // A limit of one failure: a lost acknowledgement that counted as one would make a dead letter.
  for (const queue of ['a', 'b', 'dead'])
    await broker.consume(queue, note, queue === 'dead' ? { prefetch: 10 } : { prefetch: 10, failureLimit: 1 });
  for (let number = 0; number < 50; number++) {
    for (const queue of ['a', 'b']) await broker.publish({ routingKey: queue, body: Buffer.from(String(number)) });
  }
  const arrived = (): number => new Set(history.map((entry) => entry.replace('*', ''))).size;
  for (let turn = 0; arrived() < 100; turn++) {
    if (turn === 10_000) throw new Error(`only ${arrived()} of 100 messages arrived`);
    clock.advance(50);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await broker.close();
  return history;
}

describe('a faulty broker', () => {
  const all = { duplicates: 0.2, delays: 0.2, lostAcks: 0.2 };

  test('the same seed makes the same history, another seed another one', async () => {
    const first = await historyOf(1, all);
    expect(await historyOf(1, all)).toEqual(first);
    expect(await historyOf(2, all)).not.toEqual(first);
  });

  test('duplicates come as messages of their own', async () => {
    const history = await historyOf(3, { duplicates: 0.5 });
    expect(history.length).toBeGreaterThan(110);
    expect(history.some((entry) => entry.endsWith('*'))).toBe(false);
  });

  test('delays let queues overtake each other, and keep the order within each', async () => {
    const history = await historyOf(4, { delays: 0.5 });
    const turns = history.filter((entry, index) => entry[0] !== history[index - 1]?.[0]).length;
    expect(turns).toBeLessThan(95);
    for (const queue of ['a', 'b']) {
      const numbers = history.filter((entry) => entry.startsWith(queue)).map((entry) => Number(entry.slice(2)));
      expect(numbers).toEqual(Array.from({ length: 50 }, (_, number) => number));
    }
  });

  test('a lost acknowledgement brings the message again, redelivered, and counts as no failure', async () => {
    const history = await historyOf(5, { lostAcks: 0.5 });
    expect(history.filter((entry) => entry.endsWith('*')).length).toBeGreaterThan(20);
    expect(history.some((entry) => entry.startsWith('dead'))).toBe(false);
  });

  test('a chance of 1 is refused, for what always fails never ends', () => {
    expect(() => makeFaulty(makeMemoryServer().connect(), { random: neverRandom, clock: noClock, lostAcks: 1 })).toThrow(
      /lostAcks.*1/,
    );
  });
});
