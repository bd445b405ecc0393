/** What the patterns promise, as tests over any broker; with a fixture that disturbs, while its connections are cut. */
import { systemClock } from '@lab/process/time';
import { eventually, FakeClock } from '@lab/testing';
import { describe, expect, test } from 'vitest';
import { connections, fresh, patience, type Fixture } from '../contract.ts';
import { BrokerError, TopologyError } from '../errors.ts';
import type { Broker, Delivery } from '../port.ts';
import { Barrier, consumeAlone, followLeases, Held, heldMax, isSpareCopy, Leases, Seats, tellHolders } from './index.ts';

const log = { info: () => {}, warn: () => {} };

/** One message: a number, or `end N`. */
const text = ({ body }: Delivery): string => body.toString();

/** Adds up numbers and says their sum once all are there: the smallest role that acknowledges late. */
class Adder {
  readonly held = new Held({ barrier: new Barrier(), sum: 0 });
  spares = 0;
  taken = 0;
  readonly #answer: (sum: number) => Promise<void>;

  constructor(answer: (sum: number) => Promise<void>) {
    this.#answer = answer;
  }

  readonly take = async (delivery: Delivery): Promise<void> => {
    const { held } = this;
    const { barrier } = held.state;
    this.taken++;
    if (held.done) return;
    const [what, end] = text(delivery).split(' ');
    if (what === 'end') barrier.close(Number(end));
    else {
      const number = Number(what);
      if (isSpareCopy(delivery, barrier.has(number))) return void this.spares++;
      if (!barrier.has(number)) held.state.sum += number;
      barrier.add(number);
    }
    if (barrier.open) await held.settleAfter(() => this.#answer(held.state.sum));
    return held.settled;
  };
}

/** Runs the patterns' contract against an adapter. */
export function patternsContract(name: string, makeFixture: () => Promise<Fixture>): void {
  describe(`patterns on a broker: ${name}`, { timeout: 120_000 }, () => {
    const { connect, kill, disturb, calm } = connections(makeFixture);
    const declareQueue = async (broker: Broker): Promise<string> => {
      const queue = fresh('queue');
      await broker.declare({ queues: [{ name: queue }] });
      return queue;
    };
    const send = (broker: Broker, queue: string, body: string): Promise<void> =>
      broker.publish({ routingKey: queue, body: Buffer.from(body) });
    /** Everything that was acknowledged is gone: all that a new consumer gets is what it is sent last. */
    const expectEmpty = async (broker: Broker, queue: string): Promise<void> => {
      const seen: string[] = [];
      await send(broker, queue, 'last');
      await broker.consume(queue, (delivery) => void seen.push(text(delivery)), { prefetch: 10 });
      await eventually(() => seen.includes('last'), patience);
      if (calm()) expect(seen).toEqual(['last']);
    };

    describe('late acknowledgement and counting barrier', () => {
      test('what one holder has seen goes to the next when it dies, and the answer lets go of all', async () => {
        const [doomed, heir] = [await connect(), await connect()];
        const queue = await declareQueue(heir);
        const sums: number[] = [];
        const lost = new Adder(() => Promise.reject(new Error('never complete')));
        await doomed.consume(queue, lost.take, { prefetch: heldMax });
        // The end comes before the last of what it counts.
        await Promise.all(['4', '0', '2', 'end 5', '1'].map((body) => send(heir, queue, body)));
        await eventually(() => lost.taken >= 5, patience);
        await kill(doomed);
        const adder = new Adder(async (sum) => void sums.push(sum));
        const consumer = await heir.consume(queue, adder.take, { prefetch: heldMax });
        await eventually(() => adder.taken >= 5, patience);
        await disturb();
        await send(heir, queue, '3');
        await adder.held.settled;
        await consumer.stop({ drainMs: 30_000 });
        expect(sums).toEqual([10]);
        await expectEmpty(heir, queue);
      });

      test('a spare copy goes at once, and a holder that comes later still counts each number once', async () => {
        const [doomed, heir] = [await connect(), await connect()];
        const queue = await declareQueue(heir);
        const lost = new Adder(() => Promise.reject(new Error('never complete')));
        await doomed.consume(queue, lost.take, { prefetch: heldMax });
        for (const body of ['1', '1', '2', '1', 'end 3']) await send(heir, queue, body);
        await eventually(() => lost.taken >= 5, patience);
        expect(lost.spares).toBe(2);
        await kill(doomed);
        const sums: number[] = [];
        const adder = new Adder(async (sum) => void sums.push(sum));
        await heir.consume(queue, adder.take, { prefetch: heldMax });
        await send(heir, queue, '0');
        await adder.held.settled;
        expect(sums).toEqual([3]);
      });

      test('what comes again to its own holder is held in the first copy’s place, and not lost when that dies later', async () => {
        const [doomed, heir] = [await connect(), await connect()];
        const queue = await declareQueue(heir);
        const lost = new Adder(() => Promise.reject(new Error('never complete')));
        const before = await doomed.consume(queue, lost.take, { prefetch: heldMax });
        for (const body of ['1', '2']) await send(heir, queue, body);
        await eventually(() => lost.taken >= 2, patience);
        await before.stop();
        await doomed.consume(queue, lost.take, { prefetch: heldMax });
        await eventually(() => lost.taken >= 4, patience);
        expect(lost.spares).toBe(0);
        await kill(doomed);
        const sums: number[] = [];
        const adder = new Adder(async (sum) => void sums.push(sum));
        await heir.consume(queue, adder.take, { prefetch: heldMax });
        for (const body of ['0', 'end 3']) await send(heir, queue, body);
        await adder.held.settled;
        expect(sums).toEqual([3]);
      });

      test('an answer that fails lets go of nothing, and is tried again by the delivery that comes again', async () => {
        const broker = await connect();
        const queue = await declareQueue(broker);
        let tries = 0;
        const adder = new Adder(() => (++tries < 3 ? Promise.reject(new Error('not now')) : Promise.resolve()));
        const consumer = await broker.consume(queue, adder.take, { prefetch: heldMax });
        for (const body of ['end 2', '0', '1']) await send(broker, queue, body);
        await adder.held.settled;
        await consumer.stop({ drainMs: 30_000 });
        expect(tries).toBe(3);
        await expectEmpty(broker, queue);
      });
    });

    describe('alone', () => {
      test('who consumes alone waits for a predecessor that dies, and gets what it held', async () => {
        const [doomed, heir] = [await connect(), await connect()];
        const queue = await declareQueue(heir);
        const options = { prefetch: 10 };
        let held = 0;
        const hold = (): Promise<void> => (held++, new Promise(() => {}));
        await consumeAlone({ broker: doomed, clock: systemClock, log }, queue, hold, options);
        await send(heir, queue, '1');
        await eventually(() => held > 0, patience);
        let waited = 0;
        const seen: string[] = [];
        const parts = { broker: heir, clock: systemClock, log: { ...log, info: () => void waited++ } };
        const heirConsumes = consumeAlone(parts, queue, (delivery) => void seen.push(text(delivery)), options);
        await eventually(() => waited > 0, patience);
        await kill(doomed);
        await heirConsumes;
        await eventually(() => seen.includes('1'), patience);
      });

      test('who meets another that lives gives up and says so', async () => {
        const [one, other] = [await connect(), await connect()];
        const queue = await declareQueue(one);
        const clock = new FakeClock();
        await consumeAlone({ broker: one, clock, log }, queue, () => {}, { prefetch: 1 });
        const second = consumeAlone({ broker: other, clock, log }, queue, () => {}, { prefetch: 1 });
        const outcome = second.catch((error: unknown) => error);
        let failed = false;
        void outcome.then(() => (failed = true));
        await eventually(() => (clock.advance(500), failed), patience);
        const error = await outcome;
        expect(error).toBeInstanceOf(BrokerError);
        expect(String(error)).toContain(queue);
        expect(String(error)).toContain('stop one of them');
      });
    });

    describe('seats', () => {
      interface Replica {
        broker: Broker;
        seats: Seats;
        adders: Map<string, Adder>;
        /** Rejects when a queue is gone. */
        failed: Promise<never>;
      }
      const sums = new Map<string, number>();
      const sitDown = async (clock: FakeClock, exchange: string, queues: readonly string[]): Promise<Replica> => {
        const broker = await connect();
        const adders = new Map<string, Adder>();
        const sit = (queue: string): ((delivery: Delivery) => Promise<void>) => {
          const adder = new Adder(async (sum) => void sums.set(queue, sum));
          adders.set(queue, adder);
          return adder.take;
        };
        const left = (queue: string): void => void adders.delete(queue);
        const { promise: failed, reject: onLost } = Promise.withResolvers<never>();
        failed.catch(() => undefined);
        const parts = { broker, clock, log, exchange, instance: fresh('instance'), queues, sit, left, onLost };
        const seats = new Seats({ ...parts, prefetch: heldMax });
        await seats.start();
        return { broker, seats, adders, failed };
      };

      test('one replica takes all, a newcomer gets one, and what dies or changes hands in the middle of the work loses nothing', async () => {
        const clock = new FakeClock();
        const sender = await connect();
        const queues = [await declareQueue(sender), await declareQueue(sender), await declareQueue(sender)];
        const exchange = fresh('seats');
        const one = await sitDown(clock, exchange, queues);
        await eventually(() => (clock.advance(100), one.seats.held.length === 3), patience);
        for (const queue of queues) for (const body of ['1', '2', 'end 4']) await send(sender, queue, body);
        await eventually(() => [...one.adders.values()].every(({ taken }) => taken >= 3), patience);
        const other = await sitDown(clock, exchange, queues);
        await eventually(() => (clock.advance(100), other.seats.held.length === 1), patience);
        expect(one.seats.held).toHaveLength(2);
        expect([...one.adders.keys()].sort()).toEqual([...one.seats.held].sort());
        await disturb();
        for (const queue of queues) await send(sender, queue, '3');
        await one.seats.stop();
        await kill(one.broker);
        await eventually(() => (clock.advance(100), other.seats.held.length === 3), patience);
        for (const queue of queues) await send(sender, queue, '0');
        await eventually(() => queues.every((queue) => sums.get(queue) === 6), patience);
        await other.seats.stop();
      });

      test('who sits at a queue that is gone is told, and so is who looks for a seat there', async () => {
        const clock = new FakeClock();
        const witness = await connect();
        const queues = [await declareQueue(witness)];
        const exchange = fresh('seats');
        const one = await sitDown(clock, exchange, queues);
        await eventually(() => (clock.advance(100), one.seats.held.length === 1), patience);
        const other = await sitDown(clock, exchange, queues);
        await disturb();
        await witness.remove({ queue: queues[0]! });
        await expect(one.failed).rejects.toThrow(TopologyError);
        let isTold = false;
        other.failed.catch(() => (isTold = true));
        await eventually(() => (clock.advance(100), isTold), patience);
        await other.seats.stop();
        await one.seats.stop();
      });

      test('who has one seat keeps it, however often another replica asks', async () => {
        const clock = new FakeClock();
        const witness = await connect();
        const queues = [await declareQueue(witness)];
        const exchange = fresh('seats');
        const one = await sitDown(clock, exchange, queues);
        await eventually(() => (clock.advance(100), one.seats.held.length === 1), patience);
        const adders = [...one.adders.values()];
        let asked = 0;
        const queue = await declareQueue(witness);
        await witness.declare({ exchanges: [{ name: exchange, type: 'fanout' }], bindings: [{ exchange, queue }] });
        await witness.consume(queue, () => void asked++, { prefetch: 1 });
        const other = await sitDown(clock, exchange, queues);
        await eventually(() => (clock.advance(100), asked > 3), patience);
        expect([...one.adders.values()][0]).toBe(adders[0]);
        await other.seats.stop();
        await one.seats.stop();
      });
    });

    describe('sessions as leases', () => {
      const tellKeeper = async (): Promise<void> => {};

      test('a holder lets go of what has lapsed once its keeper is told, and not before', async () => {
        const clock = new FakeClock();
        const holder = await connect();
        const [exchange, instance] = [fresh('sessions'), fresh('instance')];
        const ended: string[] = [];
        const parts = { clock, leaseMs: 1_000, log };
        const leases = new Leases(
          parts,
          (session) => session,
          (session) => void ended.push(session),
        );
        const told: string[] = [];
        const keeper = Promise.withResolvers<void>();
        const tellKeeper = async (session: string): Promise<void> => {
          told.push(session);
          if (told.length === 1) throw new Error('out of reach');
          await keeper.promise;
        };
        const options = { broker: holder, clock, exchange, instance, leaseMs: 1_000, tellKeeper, onLost: () => {} };
        const unfollow = await followLeases(options, () => [leases]);
        leases.of('lapsed');
        clock.advance(1_100);
        // Until it is told a later sweep tries again.
        await eventually(() => {
          clock.advance(100);
          return told.length > 1;
        }, patience);
        expect(ended).toEqual([]);
        keeper.resolve();
        await eventually(() => ended.length > 0, patience);
        expect(ended).toEqual(['lapsed']);
        await unfollow();
      });

      test('a holder whose queue is gone is told, for it would let go of what lasts', async () => {
        const holder = await connect();
        const [exchange, instance] = [fresh('sessions'), fresh('instance')];
        const { promise: failed, reject: onLost } = Promise.withResolvers<never>();
        // It may be told before the test looks.
        failed.catch(() => {});
        const options = { broker: holder, clock: new FakeClock(), exchange, instance, leaseMs: 1_000, tellKeeper, onLost };
        const unfollow = await followLeases(options, () => []);
        await disturb();
        await holder.remove({ queue: `${exchange}.${instance}` });
        await expect(failed).rejects.toThrow(TopologyError);
        await unfollow();
      });

      test('a holder that stood still for longer than a lease reads the renewals that wait before it lets go', async () => {
        const clock = new FakeClock();
        const holder = await connect();
        const [exchange, instance] = [fresh('sessions'), fresh('instance')];
        const ended: string[] = [];
        const leases = new Leases(
          { clock, leaseMs: 1_000, log },
          (session) => session,
          (session) => void ended.push(session),
        );
        const options = { broker: holder, clock, exchange, instance, leaseMs: 1_000, tellKeeper, onLost: () => {} };
        const unfollow = await followLeases(options, () => [leases]);
        leases.of('renewed');
        leases.of('forgotten');
        const told = tellHolders(holder, exchange, 'renew', 'renewed');
        // Its timers are the first that run when it goes on.
        clock.advance(5_000);
        expect(ended).toEqual([]);
        await told;
        await eventually(() => ended.length > 0, patience);
        expect(ended).toEqual(['forgotten']);
        await unfollow();
      });

      test('a session that is renewed stays, one that is ended or that nobody renews lets go of what is held', async () => {
        const clock = new FakeClock();
        const [keeper, holder] = [await connect(), await connect()];
        const [exchange, queue] = [fresh('sessions'), await declareQueue(holder)];
        await keeper.declare({ exchanges: [{ name: exchange, type: 'fanout' }] });
        // Nobody holds anything yet: no error.
        await tellHolders(keeper, exchange, 'end', 'nobody');
        const lapsed: object[] = [];
        const parts = { clock, leaseMs: 1_000, log: { ...log, info: (fields: object) => void lapsed.push(fields) } };
        const leases = new Leases(
          parts,
          () => new Held(undefined),
          (held) => held.settle(),
        );
        const options = {
          broker: holder,
          clock,
          exchange,
          instance: fresh('instance'),
          leaseMs: 1_000,
          tellKeeper,
          onLost: () => {},
        };
        const unfollow = await followLeases(options, () => [leases]);
        const open = new Set<string>();
        const take = async (delivery: Delivery): Promise<void> => {
          const { settled } = leases.of(text(delivery));
          open.add(text(delivery));
          await settled;
          open.delete(text(delivery));
        };
        const consumer = await holder.consume(queue, take, { prefetch: heldMax });
        for (const session of ['renewed', 'ended', 'forgotten']) await send(keeper, queue, session);
        await eventually(() => open.size === 3, patience);
        clock.advance(800);
        await tellHolders(keeper, exchange, 'renew', 'renewed');
        // Told in order: when this one has gone, the other was renewed.
        await tellHolders(keeper, exchange, 'end', 'ended');
        await eventually(() => !open.has('ended'), patience);
        expect([...open].sort()).toEqual(['forgotten', 'renewed']);
        clock.advance(300);
        await eventually(() => !open.has('forgotten'), patience);
        expect([...open]).toEqual(['renewed']);
        expect(lapsed).toEqual([{ session: 'forgotten' }]);
        await tellHolders(keeper, exchange, 'renew', 'forgotten');
        await tellHolders(keeper, exchange, 'end', 'renewed');
        await eventually(() => open.size === 0, patience);
        expect(leases.size).toBe(0);
        await unfollow();
        await consumer.stop({ drainMs: 30_000 });
        await expectEmpty(holder, queue);
      });
    });
  });
}
