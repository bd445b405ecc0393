/** All that is tested on a RabbitMQ, whatever its version: the contracts, calm and while it is disturbed, and what they cannot say. */
import { eventually, type TcpProxy } from '@lab/testing';
import { docker, startRabbitmq, type RabbitmqServer } from '@lab/testing/containers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { brokerContract, lostDiskContract, type Fixture } from '../src/contract.ts';
import {
  beginRabbitmq,
  connectRabbitmq,
  QueueLockedError,
  TopologyError,
  UnroutableError,
  type Broker,
  type Delivery,
  type RabbitmqOptions,
} from '../src/index.ts';
import { patternsContract } from '../src/patterns/contract.ts';
import { cutAll, proxyOf, rabbitmqFixture, urlAt, type Disturb } from './rabbitmq-fixture.ts';

/** Debian's 12th release has RabbitMQ 3.10, its 13th has 4.0. Returns the server, for tests of one version. */
export function rabbitmqTests(name: string, release: 'bookworm' | 'trixie'): () => RabbitmqServer {
  let started: RabbitmqServer;
  beforeAll(async () => void (started = await startRabbitmq(release)));
  afterAll(() => started[Symbol.asyncDispose]());
  const server = (): RabbitmqServer => started;
  const makeFixture = (disturb?: Disturb): Promise<Fixture> => rabbitmqFixture(server(), disturb);

  brokerContract(name, () => makeFixture());
  patternsContract(name, () => makeFixture());

  brokerContract(`${name}, while its connections are cut`, () => makeFixture(cutAll));
  patternsContract(`${name}, while its connections are cut`, () => makeFixture(cutAll));

  brokerContract(`${name}, while it is restarted and its connections are cut`, () => {
    let strikes = 0;
    // A restart takes some 10 s, a cut none: one in eight keeps the suite short.
    return makeFixture((proxies) => (strikes++ % 8 === 0 ? server().restart() : cutAll(proxies)));
  });

  lostDiskContract(
    name,
    () => makeFixture(),
    () => server().loseDisk(),
  );

  adapterTests(name, server);
  return server;
}

function adapterTests(name: string, server: () => RabbitmqServer): void {
  describe(`the adapter: ${name}`, () => {
    const open: { broker: Broker; proxy: TcpProxy }[] = [];
    const body = Buffer.from('x');
    let names = 0;
    const fresh = (): string => `rabbitmq.${crypto.randomUUID().slice(0, 8)}-${names++}`;

    const connectVia = async (options: Partial<RabbitmqOptions> = {}): Promise<{ broker: Broker; proxy: TcpProxy }> => {
      const proxy = await proxyOf(server());
      const broker = await connectRabbitmq({ url: urlAt(server(), proxy), ...options });
      const opened = { broker, proxy };
      open.push(opened);
      return opened;
    };

    afterEach(async () => {
      for (const { broker, proxy } of open.splice(0)) {
        proxy.heal();
        await broker.close();
        await proxy[Symbol.asyncDispose]();
      }
    });

    test('waits for a broker that is not there yet, and says for what', async () => {
      await server().stop();
      const told: string[] = [];
      const log = { info: () => {}, warn: (_: object, message: string) => void told.push(message), error: () => {} };
      const connecting = connectRabbitmq({ url: server().url, log });
      await eventually(() => told.includes(`waiting for RabbitMQ at 127.0.0.1:${server().port}`));
      await server().start();
      const broker = await connecting;
      await broker.close();
    });

    test('a seat that another consumer took during an outage is lost, and its holder is told', async () => {
      const [holder, taker] = [await connectVia({ heartbeatSeconds: 1 }), await connectVia()];
      const queue = fresh();
      await holder.broker.declare({ queues: [{ name: queue }] });
      const seat = await holder.broker.consume(queue, () => {}, { prefetch: 1, exclusive: true });
      holder.proxy.cut();
      holder.proxy.reset();
      const take = () => taker.broker.consume(queue, () => {}, { prefetch: 1, exclusive: true }).catch(() => undefined);
      await eventually(take);
      holder.proxy.heal();
      await expect(seat.closed).rejects.toThrow(QueueLockedError);
    });

    test('a seat that nobody took during an outage is taken again', async () => {
      const { broker, proxy } = await connectVia();
      const queue = fresh();
      await broker.declare({ queues: [{ name: queue }] });
      let seen = 0;
      await broker.consume(queue, () => void seen++, { prefetch: 1, exclusive: true });
      proxy.reset();
      await broker.publish({ routingKey: queue, body });
      await eventually(() => seen > 0);
    });

    test('a reconnect does not bring back a log that was removed', async () => {
      const [one, other] = [await connectVia(), await connectVia()];
      const [log, queue] = [fresh(), fresh()];
      await one.broker.declare({ queues: [{ name: queue }], logs: [{ name: log }] });
      await other.broker.remove({ log });
      await other.broker.remove({ queue });
      one.proxy.reset();
      // The queue comes back, which shows that the topology was declared again.
      await eventually(() => one.broker.publish({ routingKey: queue, body }).then(() => true));
      await expect(one.broker.append(log, body)).rejects.toThrow(TopologyError);
    });

    test('a consumer hears that its queue was removed while it was away, though it declares it again', async () => {
      const [away, other] = [await connectVia(), await connectVia()];
      const queue = fresh();
      await away.broker.declare({ queues: [{ name: queue }] });
      const consumer = await away.broker.consume(queue, () => {}, { prefetch: 1 });
      away.proxy.cut();
      away.proxy.reset();
      await other.broker.remove({ queue });
      away.proxy.heal();
      await expect(consumer.closed).rejects.toThrow(TopologyError);
      await eventually(() => other.broker.publish({ routingKey: queue, body }).then(() => true));
    });

    test.each([
      ['shorter', ['new']],
      ['as long', ['new', 'new', 'new']],
      ['longer', ['new', 'new', 'new', 'new', 'new']],
    ])('a reader hears that its log was made anew while it was away, now %s', async (_, bodies) => {
      const [away, other] = [await connectVia(), await connectVia()];
      const log = fresh();
      await away.broker.declare({ logs: [{ name: log }] });
      for (const each of ['0', '1', '2']) await away.broker.append(log, Buffer.from(each));
      const [entries, atEnd] = [await away.broker.read(log, 'first'), await away.broker.read(log, 'next')];
      for (const offset of [0, 1, 2]) expect(await entries.next()).toMatchObject({ value: { offset } });
      away.proxy.cut();
      away.proxy.reset();
      await other.broker.remove({ log });
      await other.broker.declare({ logs: [{ name: log }] });
      away.proxy.heal();
      // It is back, and the log still empty.
      await away.broker.incarnation();
      for (const each of bodies) await other.broker.append(log, Buffer.from(each));
      for (const each of [entries, atEnd]) expect(await each.next()).toMatchObject({ done: true });
    });

    test('who comes at the same time as others to a new broker finds the incarnation that they find', async () => {
      await server().loseDisk();
      const brokers = await Promise.all(Array.from({ length: 8 }, () => connectVia()));
      const lost = brokers.map(({ broker }) => broker.lost.catch(() => 'lost'));
      await server().restart();
      const queue = fresh();
      for (const { broker } of brokers) await broker.declare({ queues: [{ name: queue }] });
      for (const { broker } of brokers) await broker.publish({ routingKey: queue, body });
      expect(await Promise.race([...lost, Promise.resolve('known')])).toBe('known');
    });

    test('a confirm that is late is not lost: of all that waits one message comes twice', async () => {
      const told: string[] = [];
      const log = { info: () => {}, warn: (_: object, message: string) => void told.push(message), error: () => {} };
      const [stalled, witness] = [await connectVia({ confirmTimeoutMs: 300, heartbeatSeconds: 60, log }), await connectVia()];
      const queue = fresh();
      await stalled.broker.declare({ queues: [{ name: queue }] });
      const seen: string[] = [];
      await witness.broker.consume(queue, ({ body }) => void seen.push(body.toString()), { prefetch: 10 });
      stalled.proxy.cut();
      const messages = Array.from({ length: 100 }, (_, index) => `${index}`);
      const published = messages.map((each) => stalled.broker.publish({ routingKey: queue, body: Buffer.from(each) }));
      await eventually(() => told.some((message) => message.startsWith('no confirm for 300 ms')));
      stalled.proxy.heal();
      await Promise.all(published);
      await stalled.broker.publish({ routingKey: queue, body: Buffer.from('last') });
      await eventually(() => seen.includes('last'));
      expect(new Set(seen)).toEqual(new Set([...messages, 'last']));
      expect(seen.length).toBeLessThanOrEqual(messages.length + 2);
    });

    test("a call whose connection hangs rejects with the port's error, which names it", async () => {
      const { broker, proxy } = await connectVia({ connectTimeoutMs: 2_000, heartbeatSeconds: 1 });
      proxy.cut();
      await expect(broker.declare({ queues: [{ name: fresh() }] })).rejects.toMatchObject({
        name: 'UnavailableError',
        message: expect.stringMatching(/^declare: /) as string,
      });
    });

    test('no more than the limit is on its way unconfirmed', async () => {
      const [slow, witness] = [await connectVia({ unconfirmedBytesMax: 100_000 }), await connectVia()];
      const queue = fresh();
      await slow.broker.declare({ queues: [{ name: queue }] });
      let [confirmed, seen, mostUnconfirmed] = [0, 0, 0];
      const count = (): void => void (mostUnconfirmed = Math.max(mostUnconfirmed, ++seen - confirmed));
      await witness.broker.consume(queue, count, { prefetch: 100 });
      // Confirms take far longer than messages, so that all would arrive before the first of them.
      slow.proxy.delayBy(200);
      const publish = () => slow.broker.publish({ routingKey: queue, body: Buffer.alloc(10_000) }).then(() => confirmed++);
      await Promise.all(Array.from({ length: 50 }, publish));
      await eventually(() => seen === 50);
      expect(mostUnconfirmed).toBeGreaterThan(1);
      expect(mostUnconfirmed).toBeLessThanOrEqual(11);
    });

    test('acknowledging 20,000 deliveries above 20,000 held ones takes seconds, not minutes', async () => {
      const { broker } = await connectVia();
      const queue = fresh();
      await broker.declare({ queues: [{ name: queue }] });
      const held: (() => void)[] = [];
      let seen = 0;
      const hold = (): void | Promise<void> => {
        if (++seen <= 20_000) return new Promise((resolve) => held.push(resolve));
      };
      const consumer = await broker.consume(queue, hold, { prefetch: 65_535 });
      await Promise.all(Array.from({ length: 40_000 }, () => broker.publish({ routingKey: queue, body })));
      await eventually(() => seen === 40_000, { timeoutMs: 120_000 });
      for (const release of held) release();
      await consumer.stop({ drainMs: 10_000 });
      let again = 0;
      await broker.consume(queue, () => void again++, { prefetch: 10 });
      await broker.publish({ routingKey: queue, body });
      await eventually(() => again > 0);
      expect(again).toBe(1);
    });

    test('failures count even where so much is held that bodies are let go', async () => {
      const { broker } = await connectVia();
      const [queue, dead] = [fresh(), fresh()];
      await broker.declare({ queues: [{ name: dead }, { name: queue, deadLetterQueue: dead }] });
      const letters: string[] = [];
      await broker.consume(dead, ({ headers }) => void letters.push(String(headers['x-death-reason'])), { prefetch: 1 });
      const failing: ((error: Error) => void)[] = [];
      let tries = 0;
      const fail = (): Promise<void> => (tries++, new Promise((_, reject) => failing.push(reject)));
      await broker.consume(queue, fail, { prefetch: 100, failureLimit: 2 });
      const megabyte = Buffer.alloc(1024 * 1024);
      await Promise.all(Array.from({ length: 40 }, () => broker.publish({ routingKey: queue, body: megabyte })));
      await eventually(() => failing.length === 40);
      const failAll = (): boolean => {
        for (const reject of failing.splice(0)) reject(new Error('held for nothing'));
        return letters.length === 40;
      };
      await eventually(failAll, { timeoutMs: 60_000 });
      expect(tries).toBe(80);
      expect(new Set(letters)).toEqual(new Set(['held for nothing']));
    });

    test('a name that is too long is refused, and fails nothing else that is under way', async () => {
      const { broker } = await connectVia();
      const queue = fresh();
      await broker.declare({ queues: [{ name: queue }] });
      const publish = (routingKey: string): Promise<void> => broker.publish({ routingKey, body });
      const outcomes = await Promise.allSettled([queue, 'ü'.repeat(128), 'x'.repeat(255), queue].map(publish));
      expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled']);
      expect(String((outcomes[1] as PromiseRejectedResult).reason)).toContain('has more than 255 bytes');
      expect((outcomes[2] as PromiseRejectedResult).reason).toBeInstanceOf(UnroutableError);
    });

    test('a broker that is closed while it connects leaves no connection behind', async () => {
      const name = `early-${fresh()}`;
      const connections = (): Promise<string> =>
        docker('exec', server().id, 'rabbitmqctl', '--quiet', 'list_connections', 'client_properties');
      const connected = Promise.withResolvers<void>();
      const log = { info: () => connected.resolve(), warn: () => {}, error: () => {} };
      const proxy = await proxyOf(server());
      // One of the two is there, the other one waits for its answers.
      proxy.delayBy(50);
      const broker = beginRabbitmq({ url: urlAt(server(), proxy), name, log });
      await connected.promise;
      expect(await connections()).toContain(`${name}: publishing`);
      await broker.close();
      await eventually(async () => !(await connections()).includes(name));
      await proxy[Symbol.asyncDispose]();
    });

    /** Settings that RabbitMQ reads for each channel and worker anew. */
    const set = (settings: Record<string, number>): Promise<string> => {
      const calls = Object.entries(settings).map(([name, value]) => `application:set_env(rabbit, ${name}, ${value})`);
      return docker('exec', server().id, 'rabbitmqctl', 'eval', `${calls.join(', ')}.`);
    };

    describe('what is held for longer than RabbitMQ allows', () => {
      beforeEach(async () => void (await set({ consumer_timeout: 1_000, channel_tick_interval: 300 })));
      afterEach(async () => void (await set({ consumer_timeout: 43_200_000, channel_tick_interval: 60_000 })));

      test('comes again, nothing is lost, and the log names the setting', async () => {
        const told: string[] = [];
        const log = { info: () => {}, warn: (_: object, message: string) => void told.push(message), error: () => {} };
        const { broker } = await connectVia({ log });
        const queue = fresh();
        await broker.declare({ queues: [{ name: queue }] });
        const [held, again]: string[][] = [[], []];
        const hold = ({ body, redelivered }: Delivery): void | Promise<void> => {
          if (redelivered) return void again!.push(body.toString());
          held!.push(body.toString());
          return new Promise(() => {});
        };
        const consumer = await broker.consume(queue, hold, { prefetch: 10 });
        for (const each of ['1', '2', '3']) await broker.publish({ routingKey: queue, body: Buffer.from(each) });
        await eventually(() => again!.length === 3);
        expect([held, again]).toEqual([
          ['1', '2', '3'],
          ['1', '2', '3'],
        ]);
        expect(told.join()).toContain('consumer_timeout');
        await consumer.stop({ drainMs: 10_000 });
        const left: string[] = [];
        await broker.consume(queue, (delivery) => void left.push(delivery.body.toString()), { prefetch: 1 });
        await broker.publish({ routingKey: queue, body: Buffer.from('last') });
        await eventually(() => left.length > 0);
        expect(left).toEqual(['last']);
      });

      test('counts towards a delivery limit', async () => {
        const { broker } = await connectVia();
        const [queue, dead] = [fresh(), fresh()];
        await broker.declare({ queues: [{ name: dead }, { name: queue, deadLetterQueue: dead, deliveryLimit: 1 }] });
        let held = 0;
        await broker.consume(queue, () => (held++, new Promise<void>(() => {})), { prefetch: 1 });
        await broker.publish({ routingKey: queue, body });
        const letters: unknown[] = [];
        await broker.consume(dead, ({ headers }) => void letters.push(headers['x-death-reason']), { prefetch: 1 });
        await eventually(() => letters.length > 0, { timeoutMs: 60_000 });
        expect(letters).toEqual(['delivery_limit']);
        expect(held).toBe(2);
      });
    });

    test('what a delivery limit gives up waits where its dead-letter queue is gone', async () => {
      await set({ dead_letter_worker_publisher_confirm_timeout: 1_000 });
      const { broker } = await connectVia();
      const [queue, dead] = [fresh(), fresh()];
      await broker.declare({ queues: [{ name: dead }, { name: queue, deadLetterQueue: dead, deliveryLimit: 1 }] });
      await broker.remove({ queue: dead });
      let tries = 0;
      const fail = (): never => {
        tries++;
        throw new Error('not yet');
      };
      await broker.consume(queue, fail, { prefetch: 1 });
      await broker.publish({ routingKey: queue, body });
      await eventually(() => tries === 2);
      await broker.declare({ queues: [{ name: dead }] });
      const letters: unknown[] = [];
      await broker.consume(dead, ({ headers }) => void letters.push(headers['x-death-reason']), { prefetch: 1 });
      await eventually(() => letters.length > 0, { timeoutMs: 60_000 });
      expect(letters).toEqual(['delivery_limit']);
    });
  });
}
