/** Asks again and again, and knows for how long there was no answer. */

/** Between the beginnings of two requests. */
const intervalMs = 20;

export class Prober implements AsyncDisposable {
  readonly #timer: NodeJS.Timeout;
  readonly #waiting = new Set<Promise<void>>();
  #lastGoodMs = performance.now();
  #longestMs = 0;
  #asked = 0;
  #failures: string[] = [];
  #tickMs = performance.now();
  #stoodStillMs = 0;

  /** `probe` rejects, or says `false`, when there is no good answer. */
  constructor(probe: () => Promise<boolean>) {
    this.#timer = setInterval(() => {
      const nowMs = performance.now();
      this.#stoodStillMs = Math.max(this.#stoodStillMs, nowMs - this.#tickMs - intervalMs);
      this.#tickMs = nowMs;
      const asked = this.#ask(probe).finally(() => this.#waiting.delete(asked));
      this.#waiting.add(asked);
    }, intervalMs);
  }

  async #ask(probe: () => Promise<boolean>): Promise<void> {
    this.#asked++;
    try {
      if (!(await probe())) throw new Error('a wrong answer');
      const nowMs = performance.now();
      this.#longestMs = Math.max(this.#longestMs, nowMs - this.#lastGoodMs);
      this.#lastGoodMs = nowMs;
    } catch (error) {
      this.#failures.push(String(error));
    }
  }

  /** Forgets what was: what follows is measured. */
  mark(): void {
    this.#lastGoodMs = performance.now();
    this.#longestMs = 0;
    this.#asked = 0;
    this.#failures = [];
  }

  /** The longest time without a good answer since the mark, in whole ms: an outage, and one interval at least. */
  get outageMs(): number {
    return Math.round(Math.max(this.#longestMs, performance.now() - this.#lastGoodMs));
  }

  /** Requests that began since the mark. */
  get asked(): number {
    return this.#asked;
  }

  /** The longest time that this process was kept from running, and whatever it serves with it. */
  get stoodStillMs(): number {
    return this.#stoodStillMs;
  }

  /** Why requests failed since the mark. */
  get failures(): readonly string[] {
    return this.#failures;
  }

  /** Asks no more; resolves when every request has ended. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#waiting);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
