/** The promise, in real processes on a real RabbitMQ: whatever is killed in the middle of a job, the counts are the same. */
import { join } from 'node:path';
import { connectRabbitmq, type Broker } from '@lab/middleware';
import { silentLogger } from '@lab/process';
import { eventually } from '@lab/testing';
import { queueDepths, startRabbitmq, type RabbitmqServer } from '@lab/testing/containers';
import { startProcess, type RunningProcess } from '@lab/testing/processes';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { batches, decodeBatch } from '../src/messages.ts';
import { countWords } from '../src/roles/reader.ts';

const main = join(import.meta.dirname, '../src/main.ts');
const lines = Array.from({ length: 100_000 }, (_, index) => (index % 4 === 0 ? 'error here' : 'info there'));
const expected = { error: 25_000, here: 25_000, info: 75_000, there: 75_000 };

let rabbitmq: RabbitmqServer;
let counters: RunningProcess[] = [];
const startCounter = (): RunningProcess => startProcess([main, 'counter', '--rabbitmq-url', rabbitmq.url]);
const held = async (): Promise<number> => (await queueDepths(rabbitmq)).get(batches) ?? 0;

beforeAll(async () => {
  rabbitmq = await startRabbitmq();
  counters = [startCounter(), startCounter()];
});
afterAll(async () => {
  for (const counter of counters) await counter.kill();
  await rabbitmq[Symbol.asyncDispose]();
});

const faults: [string, () => Promise<unknown>][] = [
  ['one counter is killed, then the other', () => counters[0]!.kill().then(() => counters[1]!.kill())],
  ['RabbitMQ is killed', () => rabbitmq.kill().then(() => rabbitmq.start())],
  ['RabbitMQ is restarted', () => rabbitmq.restart()],
];

it.each(faults)('the counts are right although %s', { timeout: 600_000 }, async (job, strike) => {
  const broker = await connectRabbitmq({ url: rabbitmq.url, log: silentLogger });
  // The last batch waits until the fault has struck, so that it strikes in the middle.
  const struck = Promise.withResolvers<void>();
  const gated: Pick<Broker, 'declare' | 'read' | 'publish'> = {
    declare: (topology) => broker.declare(topology),
    read: (log, from) => broker.read(log, from),
    publish: async (message) => {
      const { number, total } = decodeBatch(Buffer.from(message.body));
      if (number === total - 1) await struck.promise;
      await broker.publish(message);
    },
  };
  const answer = countWords({ broker: gated, job, lines });
  await eventually(async () => expect(await held()).toBeGreaterThan(100), { intervalMs: 500 });
  await strike();
  counters = counters.map((counter) => (counter.isAlive ? counter : startCounter()));
  struck.resolve();
  expect(await answer).toEqual(expected);
  await eventually(async () => expect(await held()).toBe(0), { intervalMs: 500 });
  await broker.close();
});

it(
  'a reader that RabbitMQ has lost everything of is told, and gets the counts when it asks again',
  { timeout: 600_000 },
  async () => {
    const broker = await connectRabbitmq({ url: rabbitmq.url, log: silentLogger });
    // One batch is missing, so that all that was sent is held.
    const struck = Promise.withResolvers<never>();
    const gated: Pick<Broker, 'declare' | 'read' | 'publish'> = {
      declare: (topology) => broker.declare(topology),
      read: (log, from) => broker.read(log, from),
      publish: (message) => (decodeBatch(Buffer.from(message.body)).number === 0 ? struck.promise : broker.publish(message)),
    };
    const answer = countWords({ broker: gated, job: 'lost', lines });
    await eventually(async () => expect(await held()).toBeGreaterThan(100), { intervalMs: 500 });
    broker.lost.catch(struck.reject);
    await Promise.all([rabbitmq.loseDisk(), expect(answer).rejects.toThrow('has lost its disk')]);
    await eventually(() => counters.every((counter) => !counter.isAlive), { intervalMs: 500 });
    counters = [startCounter(), startCounter()];
    expect(await countWords({ broker, job: 'lost', lines })).toEqual(expected);
    await broker.close();
  },
);
