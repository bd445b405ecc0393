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
  /** Of the web server that answered. */
  readonly server?: string;
  readonly database?: string;
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
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/**
 * Reads wait as people do; an order longer, for the API goes on trying for 8 s by itself. The page is a probe: who measures outages must not wait, nor keep
 * connections, which hang when their other end is gone.
 */
const timeoutMs: Readonly<Record<Kind, number>> = { page: 400, read: 5_000, order: 10_000 };
/** How long one thing is tried for. */
const patienceMs = 120_000;
const pauseMs = 20;
const retryPauseMs = 100;

export class Load {
  readonly #url: string;
  readonly attempts: Attempt[] = [];
  readonly acknowledged: Acknowledged[] = [];
  /** Gave up: what the history must have, too. */
  readonly givenUp: string[] = [];
  /** For orders: a buyer's browser keeps its connection. */
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });
  readonly #freshAgent = new Agent({ keepAlive: false });
  readonly #people: Promise<void>[] = [];
  #over = false;

  constructor(url: string) {
    this.#url = url;
  }

  /** Resolves when each of them has an account. */
  async start(people: number): Promise<void> {
    const sessions = await Promise.all(Array.from({ length: people }, () => this.#register()));
    for (const session of sessions) this.#people.push(this.#shop(session), this.#look());
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
      } catch (error) {
        this.givenUp.push(String(error));
      }
      await wait(pauseMs);
    }
  }

  async #look(): Promise<void> {
    for (let turn = 0; !this.#over; turn++) {
      const [kind, path] = turn % 2 === 0 ? (['page', '/'] as const) : (['read', '/api/products?size=12'] as const);
      await this.#patiently(kind, () => this.#send(kind, path, {})).catch((error: unknown) => this.givenUp.push(String(error)));
      await wait(pauseMs);
    }
  }

  /** Sends it until it is answered with success; what was refused for good is an error. */
  async #patiently(kind: Kind, send: () => Promise<Answer>): Promise<Answer> {
    const lateMs = performance.now() + patienceMs;
    for (let retry = 0; ; retry++) {
      const sentMs = performance.now();
      let problem: string;
      try {
        const answer = await send();
        const { status, headers } = answer;
        this.attempts.push({ kind, sentMs, doneMs: performance.now(), status, retry, ...namesIn(headers) });
        if (status < 400) return answer;
        if (status < 500) throw new RefusedError(`${status}: ${answer.body.slice(0, 200)}`);
        problem = `${status}: ${answer.body.slice(0, 200)}`;
      } catch (error) {
        if (error instanceof RefusedError) throw error;
        problem = String(error);
        this.attempts.push({ kind, sentMs, doneMs: performance.now(), status: undefined, problem, retry });
      }
      if (performance.now() > lateMs) throw new Error(`gave up: ${problem}`);
      await wait(retryPauseMs);
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
        incoming.on('end', () =>
          resolve({ status: incoming.statusCode!, headers: incoming.headers, body: Buffer.concat(chunks).toString() }),
        );
      });
      outgoing.on('error', reject).end(body);
    });
  }
}

/** Will not be otherwise when it is sent again. */
class RefusedError extends Error {}

function namesIn(headers: Answer['headers']): { server?: string; database?: string } {
  const [server, database] = [headers['x-web-server'], headers['x-database']];
  return { ...(typeof server === 'string' && { server }), ...(typeof database === 'string' && { database }) };
}

// What it saw, of a span of time.

const isGood = ({ status }: Attempt): boolean => status !== undefined && status < 400;

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
