/**
 * Steady load on the whole system, from outside, and what it saw: people who look at products and place orders. Every request goes through the floating address; each attempt
 * is on record. An order is asked for again under its key until it is answered, as the page does.
 */
import { Agent, request } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { Load, Refused } from '@lab/testing/load';
import { Orders } from './orders.ts';
import type { System } from './system.ts';

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

interface Answer {
  readonly status: number;
  readonly body: string;
}

interface RequestOptions {
  readonly body?: object;
  readonly headers?: Record<string, string>;
}

/** People wait so long; for an order longer, as the API goes on trying for 8 s by itself. */
const timeoutMs: Readonly<Record<Kind, number>> = { page: 5_000, read: 5_000, order: 10_000 };
/** How long one thing is tried for. */
const patienceMs = 120_000;
const pauseMs = 20;
const ordersPerSecond = 50;
/** The page is asked for so often, whether earlier ones were answered or not: what hangs must not hide when the service is back. */
const probeMs = 25;
const retryPauseMs = 100;

/** More than a minute's worth for each that a fault may last: older ones are forgotten. */
const attemptsMax = 200_000;

/** Requests through the floating address. */
export class Requests {
  readonly attempts: Attempt[] = [];
  readonly #url: string;
  /** For orders: a buyer's browser keeps its connection. Others come for the first time: a connection whose other end is gone would measure itself. */
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });
  readonly #freshAgent = new Agent({ keepAlive: false });

  constructor(url: string) {
    this.#url = url;
  }

  /** Sends it until it is answered with success; what was refused for good is an error. */
  async patiently(kind: Kind, path: string, options: RequestOptions = {}): Promise<Answer> {
    const lateMs = performance.now() + patienceMs;
    for (let retry = 0; ; retry++) {
      const { answer, problem } = await this.attempt(kind, path, options, retry);
      if (answer !== undefined && answer.status < 400) return answer;
      if (answer !== undefined && answer.status < 500) throw new Refused(`refused: ${problem}`);
      if (performance.now() > lateMs) throw new Error(`gave up: ${problem}`);
      await wait(retryPauseMs);
    }
  }

  async attempt(
    kind: Kind,
    path: string,
    options: RequestOptions = {},
    retry = 0,
  ): Promise<{ answer?: Answer; problem: string }> {
    const sentMs = performance.now();
    const over = (status?: number, problem?: string): void => {
      if (this.attempts.length === attemptsMax) this.attempts.splice(0, attemptsMax / 2);
      this.attempts.push({ kind, sentMs, doneMs: performance.now(), status, retry, ...(problem !== undefined && { problem }) });
    };
    try {
      const answer = await this.#send(kind, path, options);
      over(answer.status);
      return { answer, problem: `${answer.status}: ${answer.body.slice(0, 200)}` };
    } catch (error) {
      over(undefined, String(error));
      return { problem: String(error) };
    }
  }

  #send(kind: Kind, path: string, options: RequestOptions): Promise<Answer> {
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

  close(): void {
    this.#agent.destroy();
  }
}

/** People who place orders, as many who look at products, and a probe. */
export class Traffic {
  readonly orders: Orders;
  readonly #requests: Requests;
  readonly #load: Load;
  readonly #others: Promise<void>[];
  readonly #givenUp: string[] = [];
  #over = false;

  private constructor(orders: Orders, requests: Requests, people: number) {
    this.orders = orders;
    this.#requests = requests;
    this.#load = new Load(orders, { rate: ordersPerSecond, clients: people });
    this.#others = [this.#probe(), ...Array.from({ length: people }, () => this.#look())];
  }

  /** Resolves when each of them has placed an order. */
  static async start(system: System, people: number): Promise<Traffic> {
    const requests = new Requests(system.url);
    const traffic = new Traffic(await Orders.open(system, requests), requests, people);
    await traffic.#load.goesOn();
    return traffic;
  }

  get attempts(): readonly Attempt[] {
    return this.#requests.attempts;
  }

  /** Why somebody has given up. */
  get givenUp(): readonly string[] {
    return [...this.#load.reasons.keys(), ...this.#givenUp];
  }

  /** Resolves when all that was begun has ended. */
  async stop(): Promise<void> {
    this.#over = true;
    await Promise.all([this.#load.stop(), ...this.#others]);
    this.#requests.close();
  }

  async #look(): Promise<void> {
    while (!this.#over) {
      await this.#requests
        .patiently('read', '/api/products?size=12')
        .catch((error: unknown) => this.#givenUp.push(String(error)));
      await wait(pauseMs);
    }
  }

  async #probe(): Promise<void> {
    const asked = new Set<Promise<unknown>>();
    while (!this.#over) {
      const probe: Promise<unknown> = this.#requests.attempt('page', '/').finally(() => asked.delete(probe));
      asked.add(probe);
      await wait(probeMs);
    }
    await Promise.all(asked);
  }
}

// What it saw, of a span of time.

export const isGood = ({ status }: Attempt): boolean => status !== undefined && status < 400;

/** The longest time without any success of these kinds, in ms. */
export function outageMs(load: Traffic, kinds: readonly Kind[], fromMs: number, toMs = performance.now()): number {
  const successes = load.attempts
    .filter((each) => kinds.includes(each.kind) && isGood(each) && each.doneMs >= fromMs && each.doneMs <= toMs)
    .map(({ doneMs }) => doneMs)
    .sort((a, b) => a - b);
  const moments = [fromMs, ...successes, toMs];
  return Math.max(...moments.slice(1).map((moment, index) => moment - moments[index]!));
}

/** Attempts that ended in that time without success. */
export const failures = (load: Traffic, kinds: readonly Kind[], fromMs: number, toMs = Infinity): Attempt[] =>
  load.attempts.filter((each) => kinds.includes(each.kind) && !isGood(each) && each.doneMs >= fromMs && each.doneMs <= toMs);

/** Of those, the ones that were already the retry of another. */
export const failedRetries = (load: Traffic, kinds: readonly Kind[], fromMs: number, toMs = Infinity): Attempt[] =>
  failures(load, kinds, fromMs, toMs).filter(({ retry }) => retry > 0);
