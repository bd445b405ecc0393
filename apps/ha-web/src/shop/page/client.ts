/**
 * Asks the API. Every request of it may be sent again, so each is, while a server or the way to it is being replaced: a failover looks like a slow answer.
 */
import type { Problem } from '../messages.ts';

/** Who answered last, as the footer shows it. */
export interface Answered {
  webServer: string;
  balancer: string;
  database: string;
}

/** The API said no, and would again. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  readonly status: number;
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail);
    this.status = problem.status;
    this.problem = problem;
  }
}

/** Nobody answered for so long that a person should decide; or what came was neither a yes nor a no of the API. */
export class UnansweredError extends Error {
  override readonly name = 'UnansweredError';
}

export interface ClientOptions {
  fetch: (path: string, init: RequestInit) => Promise<Response>;
  nowMs: () => number;
  pause: (ms: number) => Promise<void>;
  onAnswer?: (answered: Answered) => void;
  /** Told when an answer is late: 1 for the second try. */
  onRetry?: (tries: number) => void;
}

/** Longer than an order may take on the server, 8 s. */
const answerMs = 10_000;
/** Longer than any failover takes, and as long as anybody looks at a page that says that it is trying. */
const patienceMs = 20_000;
const pauseMsMin = 250;
const pauseMsMax = 2_000;
/** From balancers and servers: it may go well the next time. */
const passing: ReadonlySet<number> = new Set([408, 429, 502, 503, 504]);

export class Client {
  readonly #options: ClientOptions;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  get<T>(path: string): Promise<T> {
    return this.send<T>('GET', path);
  }

  /** Resolves with the answer, or with `undefined` where it is empty. Rejects with a `RefusedError` when the API says no; with any other error it may be sent again. */
  async send<T>(method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}): Promise<T> {
    const init = {
      method,
      headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    };
    const response = await this.#answer(path, init);
    const text = await response.text();
    if (response.ok) return (text === '' ? undefined : JSON.parse(text)) as T;
    const problem = problemOf(text);
    if (problem !== undefined && response.status < 500) throw new RefusedError(problem);
    throw new UnansweredError(
      problem?.detail ?? `The marketplace does not answer: what is in its place says ${response.status}.`,
    );
  }

  async #answer(path: string, init: RequestInit): Promise<Response> {
    const { nowMs, pause, onAnswer, onRetry } = this.#options;
    const endMs = nowMs() + patienceMs;
    for (let tries = 1; ; tries++) {
      const response = await this.#try(path, init);
      if (response !== undefined) {
        const header = (name: string): string => response.headers.get(name) ?? '';
        onAnswer?.({ webServer: header('x-web-server'), balancer: header('x-balancer'), database: header('x-database') });
        if (!passing.has(response.status)) return response;
      }
      const pauseMs = Math.min(pauseMsMin * 2 ** (tries - 1), pauseMsMax);
      if (nowMs() + pauseMs > endMs) throw new UnansweredError('The marketplace does not answer at this moment.');
      onRetry?.(tries);
      await pause(pauseMs);
    }
  }

  async #try(path: string, init: RequestInit): Promise<Response | undefined> {
    try {
      return await this.#options.fetch(`/api${path}`, { ...init, signal: AbortSignal.timeout(answerMs) });
    } catch {
      return undefined;
    }
  }
}

/** What the API says; undefined for what a balancer says, or a server of another kind. */
function problemOf(text: string): Problem | undefined {
  try {
    const problem = JSON.parse(text) as Problem;
    return problem.type.startsWith('urn:marketplace:') ? problem : undefined;
  } catch {
    return undefined;
  }
}
