/** Buyers and onlookers of one product at some web servers, and the history of what they were told. */
import { setTimeout as wait } from 'node:timers/promises';
import { assertLinearizable, counter, History, type CounterInput } from '@lab/checker';
import { eventually } from '@lab/testing';
import type { OrderRequest, Product, Session } from '../src/shop/messages.ts';

/** The product is number 1; it is never sold out. */
export const stockAtFirst = 1_000_000;
const order: OrderRequest = { items: [{ productId: 1, quantity: 1 }], totalCents: 150, deliverTo: 'Ana, Rua Nova 1, Lisboa' };
/** Between what one of them does and does next: a steady load. */
const pauseMs = 20;

export class Shoppers implements AsyncDisposable {
  readonly #history = new History<CounterInput, number | undefined>({ nowMs: () => performance.now() });
  /** When each web server told last of what a database had answered there to a GET and to a POST. */
  readonly #toldMs = new Map<string, number>();
  readonly #origins: readonly string[];
  readonly #all: Promise<unknown>;
  #isOver = false;

  /** Two of each at every web server, by its port. */
  constructor(ports: readonly number[]) {
    this.#origins = ports.map((port) => `http://127.0.0.1:${port}/api`);
    this.#all = Promise.all(
      this.#origins.flatMap((origin, server) =>
        [1, 2].flatMap((number) => [
          this.#buy(`web-${server + 1} buyer ${number}`, origin),
          this.#look(`web-${server + 1} onlooker ${number}`, origin),
        ]),
      ),
    );
    // Whoever waits for them is told.
    this.#all.catch(() => undefined);
  }

  /** Resolves when every web server has told of a read and of an order on this database, both later than now. */
  async servedBy(database: string): Promise<void> {
    const nowMs = performance.now();
    const answers = this.#origins.flatMap((origin) => ['GET', 'POST'].map((method) => `${method} ${origin} ${database}`));
    await eventually(() => answers.every((each) => (this.#toldMs.get(each) ?? 0) > nowMs), { timeoutMs: 120_000 });
  }

  /** Resolves when each has the answer to what it asked last, and throws where what they were told has no order that explains it. */
  async judge(): Promise<void> {
    await this[Symbol.asyncDispose]();
    assertLinearizable({ ...counter, initial: stockAtFirst }, this.#history.operations);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.#all;
  }

  async #look(name: string, origin: string): Promise<void> {
    for (; !this.#isOver; await wait(pauseMs)) {
      const call = this.#history.begin(name, { op: 'read' });
      const product = await this.#ask('GET', `${origin}/products/1`);
      // Who could not look has changed nothing.
      if (product === undefined) call.failed();
      else call.ok((product as Product).stock);
    }
  }

  async #buy(name: string, origin: string): Promise<void> {
    const visit = { body: JSON.stringify({ token: crypto.randomUUID() }), headers: { 'content-type': 'application/json' } };
    const { token } = (await this.#ask('POST', `${origin}/sessions/visitor`, visit)) as Session;
    for (; !this.#isOver; await wait(pauseMs)) {
      const headers = { ...visit.headers, authorization: `Bearer ${token}`, 'idempotency-key': crypto.randomUUID() };
      const call = this.#history.begin(name, { op: 'add', amount: -1 });
      // Under its key it is one order, however often it is sent.
      const sent = { body: JSON.stringify(order), headers };
      while ((await this.#ask('POST', `${origin}/orders`, sent)) === undefined) await wait(pauseMs);
      call.ok(undefined);
    }
  }

  /** What was answered; `undefined` where the database did not in time. */
  async #ask(method: 'GET' | 'POST', url: string, options: RequestInit = {}): Promise<unknown> {
    const answer = await fetch(url, { method, ...options });
    const said: unknown = await answer.json();
    if (answer.status === 503) return undefined;
    if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status} ${JSON.stringify(said)}`);
    const origin = this.#origins.find((each) => url.startsWith(each))!;
    this.#toldMs.set(`${method} ${origin} ${answer.headers.get('x-database')}`, performance.now());
    return said;
  }
}
