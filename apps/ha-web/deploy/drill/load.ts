/**
 * Steady load on the whole system, from outside, and what it saw: people who look at products and place orders. Every request goes through the floating address; each attempt
 * is on record. An order is asked for again under its key until it is answered, as the page does.
 */
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import type { Order, ProductPage, Session } from '../../src/shop/messages.ts';

export type Kind = 'page' | 'read' | 'order';

/** One request on the wire. */
export interface Attempt {
  readonly kind: Kind;
  /** On `performance.now()`. */
  readonly sentMs: number;
  readonly doneMs: number;
  /** Undefined where there was no answer: `problem` says why. */
  readonly status: number | undefined;
  readonly problem?: string;
  /** 0 for the first one of a request, 1 for the first retry … */
  readonly retry: number;
}

/** An order that was acknowledged. */
export interface Acknowledged {
  readonly account: number;
  readonly key: string;
  readonly id: number;
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** People wait so long; for an order longer, as the API goes on trying for 8 s by itself. */
const timeoutMs: Readonly<Record<Kind, number>> = { page: 5_000, read: 5_000, order: 10_000 };
/** How long one thing is tried for. */
const patienceMs = 120_000;
const pauseMs = 20;
/** The page is asked for so often, whether earlier ones were answered or not: what hangs must not hide when the service is back. */
const probeMs = 25;
const retryPauseMs = 100;

export class Load {
  readonly #url: string;
  readonly attempts: Attempt[] = [];
  readonly acknowledged: Acknowledged[] = [];
  /** Gave up: what the history must have, too. */
  readonly givenUp: string[] = [];
  /** For orders: a buyer's browser keeps its connection. Others come for the first time: a connection whose other end is gone would measure itself. */
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });
  readonly #freshAgent = new Agent({ keepAlive: false });
  readonly #people: Promise<void>[] = [];
  /** When an order was acknowledged last, on `performance.now()`. */
  acknowledgedMs = 0;
  #over = false;

  constructor(url: string) {
    this.#url = url;
  }

  /** Resolves when each of them has an account. */
  async start(people: number): Promise<void> {
    const sessions = await Promise.all(Array.from({ length: people }, () => this.#register()));
    for (const session of sessions) this.#people.push(this.#shop(session), this.#look());
    this.#people.push(this.#probe());
  }

  /** Resolves when all that was begun has ended. */
  async stop(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#people);
    this.#agent.destroy();
  }

  async #register(): Promise<Session> {
    const body = { name: `drill-${randomUUID().slice(0, 18)}`, password: 'correct horse' };
    const answer = await this.#patiently('order', () => this.#send('order', '/api/accounts', { body }));
    return JSON.parse(answer.body) as Session;
  }

  async #shop({ token, account }: Session): Promise<void> {
    const products = JSON.parse(
      (await this.#patiently('read', () => this.#send('read', '/api/products?size=50', {}))).body,
    ) as ProductPage;
    for (let turn = account.id; !this.#over; turn++) {
      const product = products.products[turn % products.products.length]!;
      const key = randomUUID();
      const body = {
        items: [{ productId: product.id, quantity: 1 }],
        totalCents: product.priceCents,
        deliverTo: 'Rua do Ensaio 1, Lisboa',
      };
      const headers = { authorization: `Bearer ${token}`, 'idempotency-key': key };
      try {
        const answer = await this.#patiently('order', () => this.#send('order', '/api/orders', { body, headers }));
        this.acknowledged.push({ account: account.id, key, id: (JSON.parse(answer.body) as Order).id });
        this.acknowledgedMs = performance.now();
      } catch (error) {
        this.givenUp.push(String(error));
      }
      await wait(pauseMs);
    }
  }

  async #look(): Promise<void> {
    while (!this.#over) {
      await this.#patiently('read', () => this.#send('read', '/api/products?size=12', {})).catch((error: unknown) =>
        this.givenUp.push(String(error)),
      );
      await wait(pauseMs);
    }
  }

  async #probe(): Promise<void> {
    const asked = new Set<Promise<unknown>>();
    while (!this.#over) {
      const probe: Promise<unknown> = this.#attempt('page', 0, () => this.#send('page', '/', {})).finally(() =>
        asked.delete(probe),
      );
      asked.add(probe);
      await wait(probeMs);
    }
    await Promise.all(asked);
  }

  /** Sends it until it is answered with success; what was refused for good is an error. */
  async #patiently(kind: Kind, send: () => Promise<Answer>): Promise<Answer> {
    const lateMs = performance.now() + patienceMs;
    for (let retry = 0; ; retry++) {
      const { answer, problem } = await this.#attempt(kind, retry, send);
      if (answer !== undefined && answer.status < 400) return answer;
      if (answer !== undefined && answer.status < 500) throw new Error(`refused: ${problem}`);
      if (performance.now() > lateMs) throw new Error(`gave up: ${problem}`);
      await wait(retryPauseMs);
    }
  }

  async #attempt(kind: Kind, retry: number, send: () => Promise<Answer>): Promise<{ answer?: Answer; problem: string }> {
    const sentMs = performance.now();
    try {
      const answer = await send();
      const { status } = answer;
      this.attempts.push({ kind, sentMs, doneMs: performance.now(), status, retry });
      return { answer, problem: `${status}: ${answer.body.slice(0, 200)}` };
    } catch (error) {
      const problem = String(error);
      this.attempts.push({ kind, sentMs, doneMs: performance.now(), status: undefined, problem, retry });
      return { problem };
    }
  }

  #send(kind: Kind, path: string, options: { body?: object; headers?: Record<string, string> }): Promise<Answer> {
    const body = options.body === undefined ? undefined : JSON.stringify(options.body);
    const method = kind === 'order' ? 'POST' : 'GET';
    const headers = { ...options.headers, ...(body !== undefined && { 'content-type': 'application/json' }) };
    return new Promise((resolve, reject) => {
      const signal = AbortSignal.timeout(timeoutMs[kind]);
      const agent = method === 'GET' ? this.#freshAgent : this.#agent;
      const outgoing = request(`${this.#url}${path}`, { method, headers, agent, signal }, (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', reject);
        incoming.on('end', () => resolve({ status: incoming.statusCode!, body: Buffer.concat(chunks).toString() }));
      });
      outgoing.on('error', reject).end(body);
    });
  }
}

// What it saw, of a span of time.

export const isGood = ({ status }: Attempt): boolean => status !== undefined && status < 400;

/** The longest time without any success of these kinds, in ms. */
export function outageMs(load: Load, kinds: readonly Kind[], fromMs: number, toMs = performance.now()): number {
  const successes = load.attempts
    .filter((each) => kinds.includes(each.kind) && isGood(each) && each.doneMs >= fromMs && each.doneMs <= toMs)
    .map(({ doneMs }) => doneMs)
    .sort((a, b) => a - b);
  const moments = [fromMs, ...successes, toMs];
  return Math.max(...moments.slice(1).map((moment, index) => moment - moments[index]!));
}

/** Attempts that ended in that time without success. */
export const failures = (load: Load, kinds: readonly Kind[], fromMs: number, toMs = Infinity): Attempt[] =>
  load.attempts.filter((each) => kinds.includes(each.kind) && !isGood(each) && each.doneMs >= fromMs && each.doneMs <= toMs);

/** Of those, the ones that were already the retry of another. */
export const failedRetries = (load: Load, kinds: readonly Kind[], fromMs: number, toMs = Infinity): Attempt[] =>
  failures(load, kinds, fromMs, toMs).filter(({ retry }) => retry > 0);
