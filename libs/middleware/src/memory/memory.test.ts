import { eventually, FakeClock } from '@lab/testing';
import { describe, expect, test } from 'vitest';
import { brokerContract, lostDiskContract, type Fixture } from '../contract.ts';
import { UnavailableError } from '../errors.ts';
import { SimulatedCrash } from '../failures.ts';
import { patternsContract } from '../patterns/contract.ts';
import { makeMemoryServer } from './server.ts';

const makeFixture = async (server = makeMemoryServer()): Promise<Fixture> => {
  return { connect: async () => server.connect(), kill: async (broker) => server.kill(broker), stop: async () => {} };
};

brokerContract('memory', makeFixture);
patternsContract('memory', makeFixture);

const disk = makeMemoryServer();
lostDiskContract(
  'memory',
  () => makeFixture(disk),
  async () => disk.loseDisk(),
);

describe('the memory broker', () => {
  const body = Buffer.from('x');

  test('a handler is never called from within publish', async () => {
    const broker = makeMemoryServer().connect();
    await broker.declare({ queues: [{ name: 'queue' }] });
    let handled = false;
    await broker.consume('queue', () => void (handled = true), { prefetch: 1 });
    const published = broker.publish({ routingKey: 'queue', body });
    expect(handled).toBe(false);
    await published;
    expect(handled).toBe(false);
    await eventually(() => handled);
  });

  test('a long queue does not keep a short one waiting', async () => {
    const broker = makeMemoryServer().connect();
    await broker.declare({ queues: [{ name: 'long' }, { name: 'short' }] });
    for (let message = 0; message < 5_000; message++) await broker.publish({ routingKey: 'long', body });
    await broker.publish({ routingKey: 'short', body });
    const order: string[] = [];
    for (const queue of ['long', 'short'])
      await broker.consume(queue, (delivery) => void order.push(delivery.queue), { prefetch: 1 });
    await eventually(() => order.includes('short'));
    expect(order.indexOf('short')).toBeLessThan(10);
  });

  test('a handler that a simulation breaks off has not failed: its message goes back and counts nothing', async () => {
    const broker = makeMemoryServer().connect();
    await broker.declare({ queues: [{ name: 'dead' }, { name: 'queue', deadLetterQueue: 'dead' }] });
    let tries = 0;
    const handler = (): void => {
      if (++tries < 5) throw new SimulatedCrash('dead');
    };
    await broker.consume('queue', handler, { prefetch: 1, failureLimit: 2 });
    await broker.publish({ routingKey: 'queue', body });
    await eventually(() => tries === 5);
  });

  test('65,535 held deliveries do not slow down what comes after them', async () => {
    const broker = makeMemoryServer().connect();
    await broker.declare({ queues: [{ name: 'queue' }] });
    const held: (() => void)[] = [];
    let handled = 0;
    const hold = (): void | Promise<void> => {
      if (++handled <= 65_000) return new Promise((resolve) => held.push(resolve));
    };
    const consumer = await broker.consume('queue', hold, { prefetch: 65_535 });
    for (let message = 0; message < 130_000; message++) await broker.publish({ routingKey: 'queue', body });
    // Ten times what it takes; walking over what is held took minutes.
    await eventually(() => handled === 130_000, { timeoutMs: 10_000 });
    for (const release of held.reverse()) release();
    await consumer.stop({ drainMs: 10_000 });
    expect(handled).toBe(130_000);
  });

  test('a full broker lets publishers wait until its consumers made room', async () => {
    const broker = makeMemoryServer({ bytesMax: 10_000 }).connect();
    await broker.declare({ queues: [{ name: 'queue' }] });
    let published = 0;
    for (let message = 0; message < 50; message++) {
      void broker.publish({ routingKey: 'queue', body: Buffer.alloc(1_000) }).then(() => published++);
    }
    await new Promise((resolve) => setImmediate(resolve));
    expect(published).toBeLessThanOrEqual(11);
    let seen = 0;
    await broker.consume('queue', () => void seen++, { prefetch: 1 });
    await eventually(() => seen === 50);
    expect(published).toBe(50);
  });

  test('a publisher that waits for room learns that its connection was closed', async () => {
    const broker = makeMemoryServer({ bytesMax: 1 }).connect();
    await broker.declare({ queues: [{ name: 'queue' }] });
    await broker.publish({ routingKey: 'queue', body });
    const waiting = broker.publish({ routingKey: 'queue', body });
    await broker.close();
    await expect(waiting).rejects.toThrow(UnavailableError);
  });

  test('a consumer that stops waits on the clock of its server, and on no other', async () => {
    const clock = new FakeClock();
    const broker = makeMemoryServer({ clock }).connect();
    await broker.declare({ queues: [{ name: 'queue' }] });
    let holds = false;
    const hold = (): Promise<void> => ((holds = true), new Promise(() => undefined));
    const consumer = await broker.consume('queue', hold, { prefetch: 1 });
    await broker.publish({ routingKey: 'queue', body });
    await eventually(() => holds);
    let stopped = false;
    const stopping = consumer.stop({ drainMs: 100 }).then(() => (stopped = true));
    await clock.advanceAsync(99);
    expect(stopped).toBe(false);
    await clock.advanceAsync(1);
    await stopping;
  });

  test('what a killed role still does changes nothing', async () => {
    const server = makeMemoryServer();
    const [doomed, witness] = [server.connect(), server.connect()];
    await witness.declare({ queues: [{ name: 'queue' }] });
    let finish = (): void => {};
    await doomed.consume('queue', () => new Promise((resolve) => (finish = resolve)), { prefetch: 1 });
    const seen: boolean[] = [];
    await witness.publish({ routingKey: 'queue', body });
    await new Promise((resolve) => setImmediate(resolve));
    server.kill(doomed);
    finish();
    await expect(doomed.publish({ routingKey: 'queue', body })).rejects.toThrow(UnavailableError);
    expect(server.depth('queue')).toBe(1);
    await witness.consume('queue', ({ redelivered }) => void seen.push(redelivered), { prefetch: 1 });
    await eventually(() => seen.length > 0);
    expect(seen).toEqual([true]);
  });
});
