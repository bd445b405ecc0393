/**
 * What every adapter must do, as tests. An adapter's own test is a fixture and a call of `brokerContract`.
 *
 * With a fixture that disturbs, each test has its connections cut, or its broker restarted, while it is at work. Messages may then
 * come twice, so these runs count what happened at least; the calm ones count exactly.
 */
import { eventually } from '@lab/testing';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { BrokerLostError, PoisonError, QueueLockedError, TopologyError, UnavailableError, UnroutableError } from './errors.ts';
import type { Broker, Consumer, Delivery, Headers, LogEntry, Queue } from './port.ts';

export interface Fixture {
  /** A connection of its own, as another process would have. */
  connect(): Promise<Broker>;
  /** What a SIGKILL of the process that has this connection is to the broker. */
  kill(broker: Broker): Promise<void>;
  /** Cuts every connection, or restarts the broker; resolves when that has struck. Left out: a calm run. */
  disturb?: () => Promise<void>;
  stop(): Promise<void>;
}

/** A restart takes some 10 s until every connection is back, longer on a busy machine. */
export const patience = { timeoutMs: 120_000, intervalMs: 10 };

/** More than the 20 after which RabbitMQ 4 gives up what comes back, unless it is told not to. */
const returns = 25;

let names = 0;
const run = crypto.randomUUID().slice(0, 8);
/** Brokers keep what they hold from one run to the next, so every test has names of its own. */
export const fresh = (what: string): string => `contract.${run}.${what}-${names++}`;

const fail = (): never => {
  throw new Error('not yet');
};

const text = (delivery: { body: Buffer }): string => delivery.body.toString();
const numbered = (count: number): string[] => Array.from({ length: count }, (_, number) => String(number));
/** The first occurrence of each. */
const firsts = (items: readonly string[]): string[] => [...new Set(items)];

/** A fixture for the tests of one `describe`. What a test has connected and not killed is closed after it. */
export function connections(makeFixture: () => Promise<Fixture>) {
  let fixture: Fixture;
  const open: Broker[] = [];
  beforeAll(async () => void (fixture = await makeFixture()));
  afterEach(async () => void (await Promise.all(open.splice(0).map((broker) => broker.close()))));
  afterAll(() => fixture.stop());
  return {
    connect: async (): Promise<Broker> => {
      const broker = await fixture.connect();
      open.push(broker);
      return broker;
    },
    kill: async (broker: Broker): Promise<void> => {
      open.splice(open.indexOf(broker), 1);
      await fixture.kill(broker);
    },
    disturb: async (): Promise<void> => fixture.disturb?.(),
    calm: (): boolean => fixture.disturb === undefined,
  };
}

/** Runs the contract against an adapter. */
export function brokerContract(name: string, makeFixture: () => Promise<Fixture>): void {
  describe(`the contract of a broker: ${name}`, { timeout: 120_000 }, () => {
    const { connect, kill, disturb, calm } = connections(makeFixture);
    const declareQueue = async (broker: Broker, options: Partial<Queue> = {}): Promise<string> => {
      const queue = options.name ?? fresh('queue');
      const letters = options.deadLetterQueue === undefined ? [] : [{ name: options.deadLetterQueue }];
      await broker.declare({ queues: [...letters, { ...options, name: queue }] });
      return queue;
    };
    const send = (broker: Broker, queue: string, body: string, headers?: Headers): Promise<void> =>
      broker.publish({ routingKey: queue, body: Buffer.from(body), ...(headers && { headers }) });
    const sendAll = (broker: Broker, queue: string, bodies: readonly string[]): Promise<void[]> =>
      Promise.all(bodies.map((body) => send(broker, queue, body)));
    /** Consumes everything at once, and keeps it. */
    const collect = async (broker: Broker, queue: string, prefetch = 100): Promise<Delivery[]> => {
      const seen: Delivery[] = [];
      await broker.consume(queue, (delivery) => void seen.push(delivery), { prefetch });
      return seen;
    };

    describe('messages', () => {
      test('a message arrives as it was published', async () => {
        const broker = await connect();
        const [exchange, queue] = [fresh('exchange'), await declareQueue(broker)];
        await broker.declare({
          exchanges: [{ name: exchange, type: 'direct' }],
          bindings: [{ exchange, queue, routingKey: 'key' }],
        });
        const headers = { text: 'é', number: 1.5, flag: true };
        await broker.publish({ exchange, routingKey: 'key', body: Uint8Array.of(0, 255, 128), headers });
        await disturb();
        const seen = await collect(broker, queue);
        await eventually(() => seen.length > 0, patience);
        expect(seen[0]).toMatchObject({ queue, exchange, routingKey: 'key', headers, redelivered: false, deliveryCount: 0 });
        expect([...(seen[0]?.body ?? [])]).toEqual([0, 255, 128]);
      });

      test('bodies are bytes: empty, large, and safe from what the publisher does to its own afterwards', async () => {
        const broker = await connect();
        const queue = await declareQueue(broker);
        const large = Buffer.alloc(1024 * 1024, 'x');
        const published = Promise.all([Buffer.alloc(0), large].map((body) => broker.publish({ routingKey: queue, body })));
        await disturb();
        await published;
        large.fill('y');
        const seen = await collect(broker, queue);
        await eventually(() => new Set(seen.map(({ body }) => body.length)).size === 2, patience);
        expect(firsts(seen.map(({ body }) => `${body.length} ${body.subarray(0, 1).toString()}`)).sort()).toEqual([
          '0 ',
          '1048576 x',
        ]);
      });

      test('bodies of all sizes arrive whole and in their order, whatever is between them', async () => {
        const broker = await connect();
        const queue = await declareQueue(broker);
        // Around the sizes at which an adapter copies, splits or begins another buffer.
        const around = [64, 4096, 65_536, 131_072].flatMap((size) => [-9, -8, -7, -1, 0, 1].map((more) => size + more));
        const sizes = [...around, 0, 1, 400_000, ...around.toReversed(), 1_000_000, 3];
        const bodyOf = (size: number, index: number): Buffer => Buffer.alloc(size, String(index));
        const publish = (size: number, index: number): Promise<void> =>
          broker.publish({
            routingKey: queue,
            body: bodyOf(size, index),
            ...(index % 3 === 0 && { headers: { index, größer: 0.5 } }),
          });
        const published = sizes.map(publish);
        await disturb();
        await Promise.all(published);
        const seen: Delivery[] = [];
        await broker.consume(queue, (delivery) => void seen.push(delivery), { prefetch: 10 });
        const whole = sizes.map((size, index) => `${index} ${size}`);
        const arrived = (): string[] =>
          firsts(
            seen.map(({ body }) => {
              const index = sizes.findIndex((size, at) => size === body.length && bodyOf(size, at).equals(body));
              return `${index} ${body.length}`;
            }),
          );
        await eventually(() => arrived().length === firsts(whole).length, patience);
        expect(arrived().sort()).toEqual(firsts(whole).sort());
        if (calm()) expect(seen.map(({ body }) => body.length)).toEqual(sizes);
        for (const { headers } of seen.filter((each) => Object.keys(each.headers).length > 0))
          expect(headers).toMatchObject({ größer: 0.5 });
      });

      test('what no queue takes is an UnroutableError, and fails nothing else that is under way', async () => {
        const broker = await connect();
        const [exchange, queue] = [fresh('exchange'), await declareQueue(broker)];
        await broker.declare({
          exchanges: [{ name: exchange, type: 'topic' }],
          bindings: [{ exchange, queue, routingKey: 'known.*' }],
        });
        const body = Buffer.from('x');
        const attempts = Promise.allSettled([
          broker.publish({ exchange, routingKey: 'unknown', body }),
          broker.publish({ exchange: fresh('no-exchange'), routingKey: 'key', body }),
          broker.publish({ routingKey: fresh('no-queue'), body }),
          broker.publish({ exchange, routingKey: 'known.key', body }),
          send(broker, queue, 'x'),
        ]);
        await disturb();
        const outcomes = await attempts;
        expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected', 'fulfilled', 'fulfilled']);
        for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(UnroutableError);
      });

      test('exchanges route: direct by key, fanout to all, topic by pattern, each queue once', async () => {
        const broker = await connect();
        const [direct, fanout, topic] = [fresh('direct'), fresh('fanout'), fresh('topic')];
        const [a, b] = [await declareQueue(broker), await declareQueue(broker)];
        await broker.declare({
          exchanges: [
            { name: direct, type: 'direct' },
            { name: fanout, type: 'fanout' },
            { name: topic, type: 'topic' },
          ],
          bindings: [
            { exchange: direct, queue: a, routingKey: 'a' },
            { exchange: direct, queue: b, routingKey: 'b' },
            ...[a, b].map((queue) => ({ exchange: fanout, queue })),
            ...['*.rain', 'city.#', '#'].map((routingKey) => ({ exchange: topic, queue: a, routingKey })),
            { exchange: topic, queue: b, routingKey: 'city.*.rain' },
          ],
        });
        await disturb();
        const routes: [string, string][] = [
          [direct, 'a'],
          [direct, 'b'],
          [fanout, 'any'],
          [topic, 'city.rain'],
          [topic, 'city.1.rain'],
          [topic, 'snow'],
        ];
        for (const [exchange, routingKey] of routes)
          await broker.publish({ exchange, routingKey, body: Buffer.from(routingKey) });
        const [atA, atB] = [await collect(broker, a), await collect(broker, b)];
        const expectedA = ['a', 'any', 'city.1.rain', 'city.rain', 'snow'];
        const expectedB = ['any', 'b', 'city.1.rain'];
        const sorted = (seen: Delivery[]): string[] => (calm() ? seen.map(text) : firsts(seen.map(text))).sort();
        await eventually(() => sorted(atA).length >= expectedA.length && sorted(atB).length >= expectedB.length, patience);
        expect([sorted(atA), sorted(atB)]).toEqual([expectedA, expectedB]);
      });

      test('handlers are called in the order of the queue', async () => {
        const broker = await connect();
        const queue = await declareQueue(broker);
        const seen = await collect(broker, queue, 10);
        const bodies = numbered(500);
        const published = sendAll(broker, queue, bodies);
        await eventually(() => seen.length > 0, patience);
        await disturb();
        await published;
        await eventually(() => firsts(seen.map(text)).length === bodies.length, patience);
        expect(firsts(seen.map(text))).toEqual(bodies);
        if (calm()) expect(seen).toHaveLength(bodies.length);
      });
    });

    describe('consumers', () => {
      test('several consumers share a queue', async () => {
        const [one, other] = [await connect(), await connect()];
        const queue = await declareQueue(one);
        const [atOne, atOther] = [await collect(one, queue, 5), await collect(other, queue, 5)];
        const bodies = numbered(500);
        const published = sendAll(one, queue, bodies);
        // Before anything is cut: whoever is may come back when the other one has done the rest.
        await eventually(() => atOne.length > 0 && atOther.length > 0, patience);
        await disturb();
        await published;
        const all = (): string[] => [...atOne, ...atOther].map(text);
        await eventually(() => firsts(all()).length === bodies.length, patience);
        if (calm()) expect(all()).toHaveLength(bodies.length);
      });

      test('no more handlers run than prefetch says, and all work gets done', async () => {
        const broker = await connect();
        const queue = await declareQueue(broker);
        const done = new Set<string>();
        let [running, mostRunning] = [0, 0];
        const handler = async (delivery: Delivery): Promise<void> => {
          mostRunning = Math.max(mostRunning, ++running);
          await new Promise((resolve) => setImmediate(resolve));
          running--;
          done.add(text(delivery));
        };
        await broker.consume(queue, handler, { prefetch: 3 });
        const published = sendAll(broker, queue, numbered(100));
        await disturb();
        await published;
        await eventually(() => done.size === 100, patience);
        // After a cut, handlers of the old connection's deliveries may still run.
        expect(mostRunning).toBeLessThanOrEqual(calm() ? 3 : 6);
        expect(mostRunning).toBeGreaterThan(1);
      });

      test('a message whose handler throws comes again, marked and counted, and blocks nothing', async () => {
        const broker = await connect();
        const queue = await declareQueue(broker);
        const seen: Delivery[] = [];
        const handler = (delivery: Delivery): void => {
          seen.push(delivery);
          if (text(delivery) === 'bad' && seen.filter((each) => text(each) === 'bad').length < 4) throw new Error('not yet');
        };
        await broker.consume(queue, handler, { prefetch: 1 });
        await sendAll(broker, queue, ['bad', 'good']);
        await disturb();
        const tries = (): Delivery[] => seen.filter((each) => text(each) === 'bad');
        await eventually(() => tries().length >= 4 && seen.some((each) => text(each) === 'good'), patience);
        if (calm()) expect(tries()[0]?.redelivered).toBe(false);
        for (const [index, each] of tries().slice(1, 4).entries()) {
          expect(each.redelivered).toBe(true);
          if (calm()) expect(each.deliveryCount).toBe(index + 1);
        }
      });

      test('a consumer that stops gives back what has not settled, and what its handlers do later counts no more', async () => {
        const broker = await connect();
        const queue = await declareQueue(broker);
        const finish: (() => void)[] = [];
        const hold = (): Promise<void> => new Promise((resolve) => finish.push(resolve));
        const consumer = await broker.consume(queue, hold, { prefetch: 10 });
        await sendAll(broker, queue, numbered(5));
        await eventually(() => finish.length >= 5, patience);
        await disturb();
        await consumer.stop();
        await consumer.closed;
        for (const each of finish) each();
        const seen = await collect(broker, queue);
        await eventually(() => firsts(seen.map(text)).length === 5, patience);
        expect(firsts(seen.map(text))).toEqual(numbered(5));
        expect(seen.every(({ redelivered }) => redelivered)).toBe(true);
      });

      test('a consumer that stops with time to drain lets its handlers finish', async () => {
        const broker = await connect();
        const queue = await declareQueue(broker);
        const finish: (() => void)[] = [];
        const consumer = await broker.consume(queue, () => new Promise((resolve) => finish.push(resolve)), { prefetch: 5 });
        await sendAll(broker, queue, numbered(10));
        await eventually(() => finish.length === 5, patience);
        const stopped = consumer.stop({ drainMs: 30_000 });
        for (const each of finish) each();
        await stopped;
        const seen = await collect(broker, queue);
        await eventually(() => seen.length === 5, patience);
        expect(seen.map(text)).toEqual(numbered(10).slice(5));
      });

      test('what a dead consumer held goes to another one, in order', async () => {
        const [doomed, heir] = [await connect(), await connect()];
        const queue = await declareQueue(doomed);
        let held = 0;
        await doomed.consume(queue, () => (held++, new Promise<void>(() => {})), { prefetch: 50 });
        await sendAll(heir, queue, numbered(80));
        await eventually(() => held >= 50, patience);
        await disturb();
        await kill(doomed);
        const seen = await collect(heir, queue);
        await eventually(() => firsts(seen.map(text)).length === 80, patience);
        if (!calm()) return;
        expect(seen.map(text)).toEqual(numbered(80));
        expect(seen.map(({ redelivered }) => redelivered)).toEqual(numbered(80).map((number) => Number(number) < 50));
      });

      test('5,000 late acknowledgements in any order are all taken', async () => {
        const broker = await connect();
        const queue = await declareQueue(broker);
        const held = new Map<string, () => void>();
        const released = new Set<string>();
        const handler = (delivery: Delivery): void | Promise<void> => {
          const body = text(delivery);
          if (!released.has(body)) return new Promise((resolve) => held.set(body, resolve));
        };
        const consumer = await broker.consume(queue, handler, { prefetch: 65_535 });
        const bodies = numbered(5_000);
        await sendAll(broker, queue, bodies);
        await eventually(() => held.size === bodies.length, patience);
        await disturb();
        for (let index = 0; index < bodies.length; index++) {
          // A stride that is prime to the count visits every one, far apart.
          const body = String((index * 1_999) % bodies.length);
          released.add(body);
          held.get(body)?.();
          if (index % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
        }
        await consumer.stop({ drainMs: 30_000 });
        await send(broker, queue, 'last');
        const seen = await collect(broker, queue);
        await eventually(() => seen.some((delivery) => text(delivery) === 'last'), patience);
        if (calm()) expect(seen.map(text)).toEqual(['last']);
      });

      test('options out of range are refused with the field and the value', async () => {
        const broker = await connect();
        const queue = await declareQueue(broker);
        for (const prefetch of [0, 65_536, 1.5]) {
          await expect(broker.consume(queue, () => {}, { prefetch })).rejects.toThrow(new RegExp(`prefetch.*${prefetch}`));
        }
        await expect(broker.consume(queue, () => {}, { prefetch: 1, failureLimit: 0 })).rejects.toThrow(/failureLimit.*0/);
        await expect(broker.consume(queue, () => {}, { prefetch: 1, failureLimit: 1 })).rejects.toThrow(TopologyError);
        await expect(broker.consume(fresh('no-queue'), () => {}, { prefetch: 1 })).rejects.toThrow(TopologyError);
      });
    });

    describe('failures and deaths', () => {
      test('a message that fails too often becomes a dead letter with its reason and origin, and blocks nothing', async () => {
        const broker = await connect();
        const [exchange, dead] = [fresh('exchange'), fresh('dead')];
        const queue = await declareQueue(broker, { deadLetterQueue: dead });
        await broker.declare({
          exchanges: [{ name: exchange, type: 'direct' }],
          bindings: [{ exchange, queue, routingKey: 'key' }],
        });
        const [tries, good]: [Delivery[], string[]] = [[], []];
        const handler = (delivery: Delivery): void => {
          if (text(delivery) !== 'poison') return void good.push(text(delivery));
          tries.push(delivery);
          throw new Error(`failure ${tries.length}`);
        };
        await broker.consume(queue, handler, { prefetch: 2, failureLimit: 3 });
        await broker.publish({ exchange, routingKey: 'key', body: Buffer.from('poison'), headers: { id: 7 } });
        await sendAll(broker, queue, numbered(20));
        await disturb();
        const letters = await collect(broker, dead);
        await eventually(() => letters.length > 0 && firsts(good).length === 20, patience);
        expect(letters[0]).toMatchObject({
          queue: dead,
          exchange,
          routingKey: 'key',
          headers: { id: 7, 'x-death-queue': queue },
        });
        expect(letters[0]?.headers['x-death-reason']).toMatch(/^failure \d+$/);
        for (const each of tries) expect(each).toMatchObject({ exchange, routingKey: 'key', headers: { id: 7 } });
        if (!calm()) return;
        expect(letters[0]?.headers['x-death-reason']).toBe('failure 3');
        expect(tries.map(({ redelivered, deliveryCount }) => ({ redelivered, deliveryCount }))).toEqual([
          { redelivered: false, deliveryCount: 0 },
          { redelivered: true, deliveryCount: 1 },
          { redelivered: true, deliveryCount: 2 },
        ]);
      });

      test('failures count wherever the handler ran, at once or late', async () => {
        const [one, other] = [await connect(), await connect()];
        const dead = fresh('dead');
        const queue = await declareQueue(one, { deadLetterQueue: dead });
        await declareQueue(other, { name: queue, deadLetterQueue: dead });
        const tries = { one: 0, other: 0 };
        const late = async (): Promise<void> => {
          tries.one++;
          await new Promise((resolve) => setImmediate(resolve));
          throw new Error('late');
        };
        const atOnce = (): void => {
          tries.other++;
          throw new Error('at once');
        };
        await one.consume(queue, late, { prefetch: 1, failureLimit: 6 });
        await other.consume(queue, atOnce, { prefetch: 1, failureLimit: 6 });
        await send(one, queue, 'poison');
        await disturb();
        const letters = await collect(one, dead);
        await eventually(() => letters.length > 0, patience);
        if (!calm()) return;
        expect(tries.one + tries.other).toBe(6);
        expect(Math.min(tries.one, tries.other)).toBeGreaterThan(0);
      });

      test('a PoisonError makes a dead letter at once', async () => {
        const broker = await connect();
        const dead = fresh('dead');
        const queue = await declareQueue(broker, { deadLetterQueue: dead });
        let tries = 0;
        const handler = (): void => {
          tries++;
          throw new PoisonError('cannot be decoded');
        };
        await broker.consume(queue, handler, { prefetch: 1, failureLimit: 100 });
        await send(broker, queue, 'poison');
        await disturb();
        const letters = await collect(broker, dead);
        await eventually(() => letters.length > 0, patience);
        expect(letters[0]?.headers).toEqual({
          ...{ 'x-death-reason': 'cannot be decoded', 'x-death-error': 'PoisonError', 'x-death-queue': queue },
        });
        if (calm()) expect(tries).toBe(1);
      });

      test('a dead letter that has nowhere to go comes again, until its queue is there again', async () => {
        const broker = await connect();
        const dead = fresh('dead');
        const queue = await declareQueue(broker, { deadLetterQueue: dead });
        await broker.remove({ queue: dead });
        let tries = 0;
        const handler = (): void => {
          tries++;
          throw new PoisonError('cannot be decoded');
        };
        await broker.consume(queue, handler, { prefetch: 1 });
        await send(broker, queue, 'poison');
        await eventually(() => tries > 1, patience);
        await disturb();
        await broker.declare({ queues: [{ name: dead }] });
        const letters = await collect(broker, dead);
        await eventually(() => letters.length > 0, patience);
        expect(letters[0]?.headers['x-death-reason']).toBe('cannot be decoded');
      });

      test(`a message that sees ${returns} consumers die is no dead letter, and gets processed`, async () => {
        const witness = await connect();
        const dead = fresh('dead');
        const queue = await declareQueue(witness, { deadLetterQueue: dead });
        await send(witness, queue, 'unlucky');
        const letters = await collect(witness, dead);
        for (let death = 0; death < returns; death++) {
          const doomed = await connect();
          await declareQueue(doomed, { name: queue, deadLetterQueue: dead });
          let reached = false;
          await doomed.consume(queue, () => ((reached = true), new Promise<void>(() => {})), { prefetch: 1, failureLimit: 2 });
          await eventually(() => reached, patience);
          if (death === 5) await disturb();
          await kill(doomed);
        }
        const seen = await collect(witness, queue);
        await eventually(() => seen.length > 0, patience);
        expect(seen[0]?.redelivered).toBe(true);
        expect(seen[0]?.deliveryCount).toBeGreaterThanOrEqual(returns);
        expect(letters).toEqual([]);
      });

      for (const [kind, letterQueue] of [
        ['a plain queue', undefined],
        ['a queue with dead letters', fresh('dead')],
      ] as const) {
        const options = letterQueue === undefined ? {} : { deadLetterQueue: letterQueue };
        const expectNoLetter = async (broker: Broker): Promise<void> => {
          if (letterQueue === undefined) return;
          const letters = await collect(broker, letterQueue);
          await send(broker, letterQueue, 'last');
          await eventually(() => letters.length > 0, patience);
          expect(firsts(letters.map(text))).toEqual(['last']);
        };

        test(`what fails ${returns} times comes back to ${kind}`, async () => {
          const broker = await connect();
          const queue = await declareQueue(broker, options);
          let tries = 0;
          await broker.consume(queue, () => void (tries++ < returns && fail()), { prefetch: 1 });
          await send(broker, queue, 'unlucky');
          await disturb();
          await eventually(() => tries > returns, patience);
          await expectNoLetter(broker);
        });

        test(`what ${returns} consumers that stop give back comes back to ${kind}`, async () => {
          const broker = await connect();
          const queue = await declareQueue(broker, options);
          await send(broker, queue, 'unlucky');
          let tries = 0;
          for (let stop = 0; stop < returns; stop++) {
            const consumer = await broker.consume(queue, () => (tries++, new Promise<void>(() => {})), { prefetch: 1 });
            await eventually(() => tries > stop, patience);
            if (stop === 5) await disturb();
            await consumer.stop();
          }
          const seen = await collect(broker, queue);
          await eventually(() => seen.length > 0, patience);
          expect(firsts(seen.map(text))).toEqual(['unlucky']);
          await expectNoLetter(broker);
        });
      }

      test('with a delivery limit the broker itself dead-letters, and counts deaths too', async () => {
        const witness = await connect();
        const dead = fresh('dead');
        const queue = await declareQueue(witness, { deadLetterQueue: dead, deliveryLimit: 2 });
        await send(witness, queue, 'unlucky');
        await disturb();
        for (let death = 0; death < 3; death++) {
          const doomed = await connect();
          let reached = false;
          await doomed.consume(queue, () => ((reached = true), new Promise<void>(() => {})), { prefetch: 1 });
          await eventually(() => reached, patience);
          await kill(doomed);
        }
        const letters = await collect(witness, dead);
        await eventually(() => letters.length > 0, patience);
        expect(letters[0]).toMatchObject({
          exchange: '',
          routingKey: queue,
          headers: { 'x-death-reason': 'delivery_limit', 'x-death-queue': queue },
        });
      });
    });

    describe('who may consume', () => {
      test('of several single active consumers one gets everything, and the next one when it is gone', async () => {
        const [first, second] = [await connect(), await connect()];
        const queue = await declareQueue(first, { singleActiveConsumer: true });
        const seen: Record<'first' | 'second', string[]> = { first: [], second: [] };
        const consumer = await first.consume(queue, (delivery) => void seen.first.push(text(delivery)), { prefetch: 1 });
        await second.consume(queue, (delivery) => void seen.second.push(text(delivery)), { prefetch: 1 });
        await sendAll(first, queue, numbered(20));
        await eventually(() => seen.first.length >= 20, patience);
        expect(seen.second).toEqual([]);
        await disturb();
        await consumer.stop();
        await sendAll(second, queue, ['after']);
        await eventually(() => seen.second.includes('after'), patience);
      });

      test('a queue with an exclusive consumer refuses others at once, until that one is gone', async () => {
        const [holder, other] = [await connect(), await connect()];
        const queue = await declareQueue(holder);
        const seat = await holder.consume(queue, () => {}, { prefetch: 1, exclusive: true });
        await disturb();
        const refused = (exclusive: boolean) => async (): Promise<boolean> => {
          const taken = await other.consume(queue, () => {}, { prefetch: 1, exclusive }).catch((error: unknown) => error);
          if (!(taken instanceof Error)) await (taken as Consumer).stop();
          return taken instanceof QueueLockedError;
        };
        if (calm()) expect([await refused(true)(), await refused(false)()]).toEqual([true, true]);
        else await eventually(refused(true), patience);
        await seat.stop();
        const taker = await retryLocked(() => other.consume(queue, () => {}, { prefetch: 1, exclusive: true }));
        await taker.stop();
      });

      test('an exclusive consumer is refused where others consume already, and the seat of a dead one is free', async () => {
        const [holder, other] = [await connect(), await connect()];
        const queue = await declareQueue(holder);
        const shared = await holder.consume(queue, () => {}, { prefetch: 1 });
        if (calm())
          await expect(other.consume(queue, () => {}, { prefetch: 1, exclusive: true })).rejects.toThrow(QueueLockedError);
        await shared.stop();
        await retryLocked(() => holder.consume(queue, () => {}, { prefetch: 1, exclusive: true }));
        await disturb();
        await kill(holder);
        await retryLocked(() => other.consume(queue, () => {}, { prefetch: 1, exclusive: true }));
      });

      test('an exclusive queue is its connection’s own, and goes with it', async () => {
        const [owner, other] = [await connect(), await connect()];
        const [queue, exchange] = [fresh('own'), fresh('exchange')];
        const own: Queue = { name: queue, type: 'classic', exclusive: true };
        await owner.declare({ exchanges: [{ name: exchange, type: 'fanout' }], queues: [own], bindings: [{ exchange, queue }] });
        const seen = await collect(owner, queue);
        await disturb();
        const hear = async (): Promise<boolean> => {
          await other.publish({ exchange, routingKey: '', body: Buffer.from('news') }).catch(() => {});
          return seen.length > 0;
        };
        await eventually(hear, patience);
        expect(seen[0]).toMatchObject({ queue, deliveryCount: undefined });
        await expect(other.declare({ queues: [own] })).rejects.toThrow(QueueLockedError);
        await expect(other.consume(queue, () => {}, { prefetch: 1 })).rejects.toThrow(QueueLockedError);
        await kill(owner);
        const isGone = () =>
          other.publish({ exchange, routingKey: '', body: Buffer.from('news') }).then(
            () => false,
            () => true,
          );
        await eventually(isGone, patience);
        await other.declare({ queues: [own] });
      });
    });

    /** A seat is free again when the broker has noticed that its holder is gone. */
    const retryLocked = async (take: () => Promise<Consumer>): Promise<Consumer> => {
      const taken = async (): Promise<Consumer | undefined> =>
        take().catch((error: unknown) => {
          if (error instanceof QueueLockedError) return undefined;
          throw error;
        });
      const consumer = await eventually(taken, patience);
      if (consumer === undefined) throw new Error('the seat stayed taken');
      return consumer;
    };

    describe('topology', () => {
      test('declaring again changes nothing, declaring otherwise is a TopologyError that names the queue', async () => {
        const broker = await connect();
        const [queue, exchange, log] = [fresh('queue'), fresh('exchange'), fresh('log')];
        const topology = {
          exchanges: [{ name: exchange, type: 'direct' as const }],
          queues: [{ name: queue }],
          logs: [{ name: log }],
        };
        await broker.declare(topology);
        await send(broker, queue, 'kept');
        await disturb();
        await broker.declare(topology);
        const otherwise = broker.declare({ queues: [{ name: queue, singleActiveConsumer: true }] });
        await expect(otherwise).rejects.toThrow(new RegExp(`"${queue}".*remove it`));
        await expect(broker.declare({ queues: [{ name: queue, type: 'classic' }] })).rejects.toThrow(TopologyError);
        await expect(broker.declare({ exchanges: [{ name: exchange, type: 'fanout' }] })).rejects.toThrow(TopologyError);
        await expect(broker.declare({ queues: [{ name: log }] })).rejects.toThrow(TopologyError);
        await expect(broker.declare({ bindings: [{ exchange: fresh('no-exchange'), queue }] })).rejects.toThrow(TopologyError);
        const seen = await collect(broker, queue);
        await eventually(() => seen.length > 0, patience);
      });

      test('a topology that contradicts itself is refused', async () => {
        const broker = await connect();
        const contradictions: Queue[] = [
          { name: fresh('queue'), exclusive: true },
          { name: fresh('queue'), deadLetterQueue: fresh('undeclared') },
          { name: fresh('queue'), type: 'classic', deliveryLimit: 3 },
          { name: fresh('queue'), deliveryLimit: 0 },
        ];
        for (const queue of contradictions) await expect(broker.declare({ queues: [queue] })).rejects.toThrow(TopologyError);
      });

      test('a removed queue takes nothing more, its consumers learn of it, and removing it again is no error', async () => {
        const broker = await connect();
        const queue = await declareQueue(broker);
        const consumer = await broker.consume(queue, () => {}, { prefetch: 1 });
        await disturb();
        await broker.remove({ queue });
        await expect(consumer.closed).rejects.toThrow(TopologyError);
        await expect(send(broker, queue, 'x')).rejects.toThrow(UnroutableError);
        await broker.remove({ queue });
      });
    });

    describe('logs', () => {
      const declareLog = async (broker: Broker, retentionBytes?: number): Promise<string> => {
        const log = fresh('log');
        await broker.declare({ logs: [{ name: log, ...(retentionBytes !== undefined && { retentionBytes }) }] });
        return log;
      };
      const appendAll = async (broker: Broker, log: string, bodies: readonly string[]): Promise<void> => {
        for (const body of bodies) await broker.append(log, Buffer.from(body));
      };
      const take = async (entries: AsyncIterableIterator<LogEntry>, count: number): Promise<LogEntry[]> => {
        const taken: LogEntry[] = [];
        while (taken.length < count) {
          const result = await entries.next();
          if (result.done === true) break;
          taken.push(result.value);
        }
        return taken;
      };

      test('a log is read from its first entry, from an offset, and from the next entry on', async () => {
        const broker = await connect();
        const log = await declareLog(broker);
        const early = await broker.read(log, 'next');
        await appendAll(broker, log, numbered(10));
        const next = await broker.read(log, 'next');
        await disturb();
        await appendAll(broker, log, ['new']);
        const first = await take(await broker.read(log, 'first'), 11);
        expect(first.slice(0, 10).map(text)).toEqual(numbered(10));
        expect(first.map(({ offset }) => offset)).toEqual(numbered(11).map(Number));
        expect((await take(await broker.read(log, 7), 4)).map(({ offset }) => offset)).toEqual([7, 8, 9, 10]);
        expect((await take(next, 1)).map(text)).toEqual(['new']);
        expect((await take(early, 10)).map(text)).toEqual(numbered(10));
      });

      test('all readers see one order, whoever appended, and see it through to the end', async () => {
        const [one, other] = [await connect(), await connect()];
        const log = await declareLog(one);
        const [atOne, atOther] = [await one.read(log, 'first'), await other.read(log, 'next')];
        const appended = Promise.all(
          [one, other].map((broker, index) =>
            appendAll(
              broker,
              log,
              numbered(50).map((number) => `${index}-${number}`),
            ),
          ),
        );
        const begun = await take(atOne, 10);
        await disturb();
        await appended;
        await one.append(log, Buffer.from('end'));
        const rest = async (entries: AsyncIterableIterator<LogEntry>, taken: LogEntry[]): Promise<LogEntry[]> => {
          while (taken.length === 0 || text(taken.at(-1)!) !== 'end') taken.push(...(await take(entries, 1)));
          return taken;
        };
        const [read, readToo] = [await rest(atOne, begun), await rest(atOther, [])];
        expect(readToo.map(text)).toEqual(read.map(text));
        expect(read.map(({ offset }) => offset)).toEqual(
          firsts(read.map(({ offset }) => String(offset)))
            .map(Number)
            .sort((a, b) => a - b),
        );
        expect(firsts(read.map(text))).toHaveLength(101);
        if (calm()) expect(read).toHaveLength(101);
      });

      test('a log keeps within its retention, and a reader of what was dropped begins with what is left', async () => {
        const broker = await connect();
        const log = await declareLog(broker, 100_000);
        for (let entry = 0; entry < 100; entry++) await broker.append(log, Buffer.from(String(entry).padStart(5_000)));
        const dropped = async (): Promise<number> => {
          const entries = await broker.read(log, 'first');
          const [oldest] = await take(entries, 1);
          await entries.return?.();
          return oldest === undefined ? 0 : Number(text(oldest));
        };
        const oldest = await eventually(dropped, patience);
        // 20 entries fill the retention, of which the oldest segment may be gone already.
        expect(oldest).toBeLessThanOrEqual(90);
        await disturb();
        const left: number[] = [];
        const entries = await broker.read(log, 1);
        while (left.at(-1) !== 99) left.push(...(await take(entries, 1)).map(text).map(Number));
        // More of it may have been dropped since.
        expect(left[0]).toBeGreaterThanOrEqual(oldest);
        expect(left).toEqual(numbered(100).map(Number).slice(left[0]));
      });

      test('a removed log ends its readers and takes no more', async () => {
        const broker = await connect();
        const log = await declareLog(broker);
        await broker.append(log, Buffer.from('x'));
        const entries = await broker.read(log, 'first');
        await take(entries, 1);
        await disturb();
        await broker.remove({ log });
        expect(await entries.next()).toMatchObject({ done: true });
        await expect(broker.append(log, Buffer.from('x'))).rejects.toThrow(TopologyError);
        await expect(broker.read(log, 'first')).rejects.toThrow(TopologyError);
        await broker.remove({ log });
      });

      test('a log that is removed and made anew is another one: who read the old one ends', async () => {
        const broker = await connect();
        const log = await declareLog(broker);
        await appendAll(broker, log, ['old']);
        const entries = await broker.read(log, 'first');
        await take(entries, 1);
        await disturb();
        await broker.remove({ log });
        await broker.declare({ logs: [{ name: log }] });
        await appendAll(broker, log, ['new', 'newer']);
        expect(await entries.next()).toMatchObject({ done: true });
        expect((await take(await broker.read(log, 'first'), 1)).map(text)).toEqual(['new']);
      });

      test('a reader that is returned ends, and leaves the log alone', async () => {
        const broker = await connect();
        const log = await declareLog(broker);
        await appendAll(broker, log, numbered(3));
        for await (const entry of await broker.read(log, 'first')) if (text(entry) === '1') break;
        expect((await take(await broker.read(log, 'first'), 3)).map(text)).toEqual(numbered(3));
      });
    });

    describe('closing', () => {
      test('close waits for what is being published, and gives back what is being handled', async () => {
        const [closing, heir] = [await connect(), await connect()];
        const queue = await declareQueue(closing);
        let held = 0;
        await closing.consume(queue, () => (held++, new Promise<void>(() => {})), { prefetch: 10 });
        await sendAll(closing, queue, numbered(5));
        await eventually(() => held >= 5, patience);
        const published = sendAll(closing, queue, ['5', '6', '7']);
        await disturb();
        await closing.close();
        await published;
        const seen = await collect(heir, queue);
        await eventually(() => firsts(seen.map(text)).length === 8, patience);
      });

      test('a closed broker refuses every call with UnavailableError', async () => {
        const broker = await connect();
        const queue = await declareQueue(broker);
        const entries = await broker.read(await declareLog(broker), 'first');
        await broker.close();
        await broker.close();
        expect(await entries.next()).toMatchObject({ done: true });
        await expect(send(broker, queue, 'x')).rejects.toThrow(UnavailableError);
        await expect(broker.declare({ queues: [{ name: queue }] })).rejects.toThrow(UnavailableError);
        await expect(broker.consume(queue, () => {}, { prefetch: 1 })).rejects.toThrow(UnavailableError);
        await expect(broker.append('log', Buffer.from('x'))).rejects.toThrow(UnavailableError);
        await expect(broker.read('log', 'first')).rejects.toThrow(UnavailableError);
        await expect(broker.remove({ queue })).rejects.toThrow(UnavailableError);
      });

      const declareLog = async (broker: Broker): Promise<string> => {
        const log = fresh('log');
        await broker.declare({ logs: [{ name: log }] });
        return log;
      };
    });
  });
}

/** What remains of a broker that `loseDisk` makes lose its disk, and all connections for a moment. */
export function lostDiskContract(name: string, makeFixture: () => Promise<Fixture>, loseDisk: () => Promise<void>): void {
  describe(`a broker that has lost its disk: ${name}`, { timeout: 240_000 }, () => {
    const { connect } = connections(makeFixture);
    const body = Buffer.from('x');
    const isRouted = (broker: Broker, queue: string): Promise<boolean> =>
      broker.publish({ routingKey: queue, body }).then(
        () => true,
        () => false,
      );

    test('who consumed or read learns of it, and whoever begins again begins with nothing', async () => {
      const [broker, other] = [await connect(), await connect()];
      const [queue, own, log] = [fresh('queue'), fresh('own'), fresh('log')];
      const topology = { queues: [{ name: queue }], logs: [{ name: log }] };
      await broker.declare(topology);
      await broker.append(log, body);
      await broker.publish({ routingKey: queue, body: Buffer.from('lost') });
      const hold = (): Promise<void> => new Promise(() => {});
      const consumers = await Promise.all([broker, other].map((each) => each.consume(queue, hold, { prefetch: 1 })));
      await other.declare({ queues: [{ name: own, type: 'classic', exclusive: true }] });
      consumers.push(await other.consume(own, hold, { prefetch: 1 }));
      const entries = await other.read(log, 'next');
      await loseDisk();
      for (const consumer of consumers) await expect(consumer.closed).rejects.toThrow(BrokerLostError);
      expect(await entries.next()).toMatchObject({ done: true });
      await expect(other.read(log, 'first')).rejects.toThrow(TopologyError);
      await other.declare({ queues: [{ name: queue }] });
      const seen: string[] = [];
      await broker.consume(queue, (delivery) => void seen.push(text(delivery)), { prefetch: 1 });
      await other.publish({ routingKey: queue, body: Buffer.from('new') });
      await eventually(() => seen.length > 0, patience);
      expect(seen).toEqual(['new']);
    });

    test('who only publishes learns of it too, each time, and nothing comes back by itself', async () => {
      const [one, other] = [await connect(), await connect()];
      const queue = fresh('queue');
      for (const strike of [1, 2]) {
        const before = await one.incarnation();
        expect(await other.incarnation()).toBe(before);
        await one.declare({ queues: [{ name: queue }] });
        await other.publish({ routingKey: queue, body });
        const told = [one, other].map((broker) => broker.lost.catch((error: unknown) => error));
        await loseDisk();
        for (const error of await Promise.all(told)) {
          expect(error, `strike ${strike}`).toBeInstanceOf(BrokerLostError);
          expect((error as Error).message).toContain(`was ${before}, now it is ${await other.incarnation()}`);
        }
        expect(await one.incarnation()).not.toBe(before);
        expect([await isRouted(one, queue), await isRouted(other, queue)]).toEqual([false, false]);
      }
      const newcomer = await connect();
      await newcomer.declare({ queues: [{ name: queue }] });
      expect(await Promise.race([newcomer.lost.catch(() => 'lost'), newcomer.publish({ routingKey: queue, body })])).toBe(
        undefined,
      );
    });
  });
}
