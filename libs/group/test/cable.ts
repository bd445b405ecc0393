/** A connection to a broker in memory that can be cut: what is called waits, and goes through when it heals. */
import type { Broker, LogEntry } from '@lab/middleware';

export class Cable {
  #open: Promise<void> | undefined;
  #heal = (): void => {};

  cut(): void {
    this.#open ??= new Promise((resolve) => (this.#heal = resolve));
  }

  heal(): void {
    this.#heal();
    this.#open = undefined;
  }

  /** What a group uses of a broker, through this cable. */
  wrap(broker: Broker): Broker {
    return {
      ...{ features: broker.features, lost: broker.lost, incarnation: broker.incarnation.bind(broker) },
      ...{ consume: broker.consume.bind(broker), publish: broker.publish.bind(broker) },
      declare: async (topology) => (await this.#through(), broker.declare(topology)),
      append: async (log, body) => (await this.#through(), broker.append(log, body)),
      remove: async (what) => (await this.#through(), broker.remove(what)),
      read: async (log, from) => (await this.#through(), this.#reader(await broker.read(log, from))),
      close: () => broker.close(),
    };
  }

  async #through(): Promise<void> {
    while (this.#open !== undefined) await this.#open;
  }

  #reader(reader: AsyncIterableIterator<LogEntry>): AsyncIterableIterator<LogEntry> {
    const next = async (): Promise<IteratorResult<LogEntry>> => {
      const result = await reader.next();
      await this.#through();
      return result;
    };
    return { next, return: () => reader.return!(), [Symbol.asyncIterator]: () => this.#reader(reader) };
  }
}
