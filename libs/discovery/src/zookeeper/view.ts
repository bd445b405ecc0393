/** What is seen of one service or one record: all reads of it go through here, one after another, so that no consumer sees it go back. */
import type { PlainLogger } from '@lab/process';
import { Latest } from '../latest.ts';
import { ConnectionLostError, type Connection } from './connection.ts';
import type { Session } from './session.ts';

export interface Seen<Value> {
  /** Grows with each change that is seen. */
  readonly revision: number;
  readonly value: Value;
}

/** Reads the present state; `undefined` when there is nothing to show. The watcher is to be called once, at the first change after that. */
export type Read<Value> = (connection: Connection, watcher: (() => void) | undefined) => Promise<Seen<Value> | undefined>;

interface Consumer<Value> {
  latest: Latest<Value>;
  /** The revision that it was given last. */
  shown: number;
  /** It is given nothing from reads before this one: they may be older than what was known when it began. */
  from: number;
}

export class View<Value> {
  readonly #name: string;
  readonly #session: Session;
  readonly #read: Read<Value>;
  readonly #log: PlainLogger;
  readonly #consumers = new Set<Consumer<Value>>();
  #last: Promise<unknown> = Promise.resolve();
  /** How many reads were asked for. */
  #turn = 0;
  /** One and the same for all reads: the client calls it once, however often it was armed. */
  readonly #onChange = (): void => void this.refresh();

  constructor(name: string, session: Session, log: PlainLogger, read: Read<Value>) {
    this.#name = name;
    this.#session = session;
    this.#log = log;
    this.#read = read;
  }

  /** At least as new as all that any process was told before this call. */
  async fresh(): Promise<Value | undefined> {
    const seen = await this.#session.run(`to read ${this.#name}`, async (connection) => {
      await connection.sync();
      return this.#readInTurn(connection);
    });
    return seen?.value;
  }

  watch(): AsyncIterableIterator<Value> {
    const latest = new Latest<Value>(() => this.#consumers.delete(consumer));
    const consumer = { latest, shown: -1, from: Infinity };
    this.#consumers.add(consumer);
    // Only the end of all makes it fail.
    this.#begin(consumer).catch(() => latest.end());
    return latest;
  }

  /** Reads again for those who watch; without contact, the next contact does so. */
  async refresh(): Promise<void> {
    const { connection } = this.#session;
    if (connection === undefined || this.#consumers.size === 0) return;
    try {
      await this.#readInTurn(connection);
    } catch (error) {
      if (!(error instanceof ConnectionLostError)) this.#log.error({ err: error }, `${this.#name} cannot be read`);
    }
  }

  end(): void {
    for (const { latest } of this.#consumers) latest.end();
  }

  async #begin(consumer: Consumer<Value>): Promise<void> {
    await this.#session.run(`to watch ${this.#name}`, (connection) => connection.sync(), Infinity);
    consumer.from = this.#turn + 1;
    await this.refresh();
  }

  #readInTurn(connection: Connection): Promise<Seen<Value> | undefined> {
    const turn = ++this.#turn;
    const done = this.#last.then(async () => {
      const seen = await this.#read(connection, this.#consumers.size > 0 ? this.#onChange : undefined);
      if (seen) this.#show(seen, turn);
      return seen;
    });
    this.#last = done.catch(() => undefined);
    return done;
  }

  #show({ revision, value }: Seen<Value>, turn: number): void {
    for (const consumer of this.#consumers) {
      if (turn < consumer.from || revision <= consumer.shown) continue;
      consumer.shown = revision;
      consumer.latest.push(value);
    }
  }
}
