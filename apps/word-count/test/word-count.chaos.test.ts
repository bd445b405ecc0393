/** The promise, in real processes on a real RabbitMQ: whatever is killed while readers are at work, each word of each job is counted once. */
import { join } from 'node:path';
import { eventually } from '@lab/testing';
import { queueDepths, startRabbitmq, type RabbitmqServer } from '@lab/testing/containers';
import { Load } from '@lab/testing/load';
import { startProcess, type RunningProcess } from '@lab/testing/processes';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { batches } from '../src/messages.ts';
import { WordCountLoad } from './load.ts';

const main = join(import.meta.dirname, '../src/main.ts');

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

/** All is gone. Counters end when they are told so; readers go on with their next job. */
async function loseDisk(): Promise<void> {
  await rabbitmq.loseDisk();
  await eventually(() => counters.every((counter) => !counter.isAlive));
}

const clients = 3;
/** With how many readers are told that their job is lost. */
const faults: [string, () => Promise<unknown>, number][] = [
  ['one counter is killed, then the other', () => counters[0]!.kill().then(() => counters[1]!.kill()), 0],
  ['RabbitMQ is killed', () => rabbitmq.kill().then(() => rabbitmq.start()), 0],
  ['RabbitMQ is restarted', () => rabbitmq.restart(), 0],
  ['RabbitMQ is killed, and its disk is empty when it is back', loseDisk, clients],
];

it.each(faults)('the counts are right although %s', { timeout: 600_000 }, async (_, strike, told) => {
  let [isHeld, waiting] = [false, 0];
  const struck = Promise.withResolvers<void>();
  const beforeLast = async (): Promise<void> => {
    if (!isHeld) return;
    waiting++;
    await struck.promise;
  };
  await using load = new Load(new WordCountLoad({ url: rabbitmq.url, lines: 40_000, beforeLast }), { rate: 100, clients });
  await load.goesOn();
  // Each job is in its middle: all but its last batch is sent.
  isHeld = true;
  await eventually(() => waiting === clients);
  await eventually(async () => expect(await held()).toBeGreaterThan(100), { intervalMs: 500 });
  await strike();
  isHeld = false;
  struck.resolve();
  counters = counters.map((counter) => (counter.isAlive ? counter : startCounter()));
  await load.goesOn();
  expect((await load.verdicts()).filter(({ kept }) => !kept)).toEqual([]);
  expect(load.counts.refused + load.counts.unknown).toBe(told);
  await eventually(async () => expect(await held()).toBe(0), { intervalMs: 500 });
});
