/**
 * A broker that does all that at-least-once delivery allows. Roles that give the right answers on it do not lean on what a quiet network
 * happens to do.
 */
import { SimulatedCrash } from './failures.ts';
import type { Broker, ConsumeOptions, Consumer, Delivery, Handler, LogEntry } from './port.ts';

export interface Faults {
  /** Gives a number in 0..1; with a seeded one everything that happens follows from the seed. */
  random: { next(): number };
  /** Runs something later; the delays are on this clock. */
  clock: { after(delayMs: number, run: () => void): unknown };
  /** Chance that a publish or an append happens twice, as after a lost confirm. Default 0. */
  duplicates?: number;
  /** Chance that a delivery waits before its handler sees it, and with it all later ones of its consumer: other queues overtake it. Default 0. */
  delays?: number;
  /** The longest delay. Default 1,000. */
  delayMsMax?: number;
  /** Chance that a handler's success is lost, as when its process dies before the acknowledgement: the message comes again, redelivered. Default 0. */
  lostAcks?: number;
}

/** Decorates any broker with faults. With all chances 0 it is that broker. */
export function makeFaulty(broker: Broker, faults: Faults): Broker {
  const dice = new Dice(faults);
  return {
    features: broker.features,
    declare: (topology) => broker.declare(topology),
    publish: (message) => dice.twice(() => broker.publish(message)),
    consume: (queue, handler, options) => consumeFaulty(broker, dice, queue, handler, options),
    append: (log, body) => dice.twice(() => broker.append(log, body)),
    read: async (log, from) => new FaultyReader(await broker.read(log, from), dice),
    remove: (what) => broker.remove(what),
    close: () => broker.close(),
  };
}

/** Decides, always in the same order, what goes wrong. */
class Dice {
  readonly #random: { next(): number };
  readonly #clock: Faults['clock'];
  readonly #chances: Required<Omit<Faults, 'random' | 'clock'>>;

  constructor({ random, clock, duplicates = 0, delays = 0, delayMsMax = 1_000, lostAcks = 0 }: Faults) {
    for (const [name, chance] of Object.entries({ duplicates, delays, lostAcks })) {
      if (!(chance >= 0 && chance < 1))
        throw new RangeError(`makeFaulty: ${name} must be in 0..1, below 1, not ${chance}: what always fails never ends`);
    }
    this.#random = random;
    this.#clock = clock;
    this.#chances = { duplicates, delays, delayMsMax, lostAcks };
  }

  async twice(publish: () => Promise<void>): Promise<void> {
    const again = this.#happens(this.#chances.duplicates);
    await publish();
    if (again) await publish();
  }

  get losesAck(): boolean {
    return this.#happens(this.#chances.lostAcks);
  }

  /** A delay to wait for, or nothing. */
  delay(): Promise<void> | undefined {
    if (!this.#happens(this.#chances.delays)) return undefined;
    const delayMs = this.#random.next() * this.#chances.delayMsMax;
    return new Promise((resolve) => void this.#clock.after(delayMs, resolve));
  }

  #happens(chance: number): boolean {
    return chance > 0 && this.#random.next() < chance;
  }
}

async function consumeFaulty(
  broker: Broker,
  dice: Dice,
  queue: string,
  handler: Handler,
  options: ConsumeOptions,
): Promise<Consumer> {
  let stopped = false;
  /** The end of the line of delayed deliveries, if there is one. */
  let line: Promise<void> | undefined;

  const handle = (delivery: Delivery): void | Promise<void> => {
    if (stopped) throw new SimulatedCrash('stopped before the handler ran');
    const outcome = handler(delivery);
    if (outcome !== undefined) return outcome.then(loseAck);
    loseAck();
  };
  const loseAck = (): void => {
    if (dice.losesAck) throw new SimulatedCrash('the acknowledgement was lost');
  };
  const inLine = (delivery: Delivery): void | Promise<void> => {
    const delay = dice.delay();
    if (line === undefined && delay === undefined) return handle(delivery);
    const turn = Promise.all([line, delay]).then(() => {});
    line = turn;
    return turn.then(() => {
      if (line === turn) line = undefined;
      return handle(delivery);
    });
  };

  const consumer = await broker.consume(queue, inLine, options);
  return {
    closed: consumer.closed,
    stop: async (stopOptions) => {
      stopped = true;
      await consumer.stop(stopOptions);
    },
  };
}

class FaultyReader implements AsyncIterableIterator<LogEntry> {
  readonly #reader: AsyncIterableIterator<LogEntry>;
  readonly #dice: Dice;

  constructor(reader: AsyncIterableIterator<LogEntry>, dice: Dice) {
    this.#reader = reader;
    this.#dice = dice;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<LogEntry>> {
    const result = await this.#reader.next();
    await this.#dice.delay();
    return result;
  }

  async return(): Promise<IteratorResult<LogEntry>> {
    await this.#reader.return?.();
    return { done: true, value: undefined };
  }
}
