/**
 * A system's own clients at work, at a rate, and a judgement of what it has promised them. What one breaks by hand (`npx nx break`), and what a chaos suite
 * breaks, is judged by the same load and the same check. An operation that fails during a fault breaks no promise: it is counted.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { eventually, withDeadline } from './eventually.ts';
import type { Verdict } from './ledger.ts';

/** What a system is asked to do, and how its promises are checked: an app's own. What it remembers has a bound, as a load may run for days. Its end, where it
 * has one, takes away what it has left in the system. */
export interface Workload extends Partial<AsyncDisposable> {
  readonly promises: readonly Promised[];
  /** A client, with a number from 1 on. Where it rejects, its operation counts as refused. */
  connect(number: number): Promise<LoadClient>;
  /** Checks what was not checked at work already. It is called again when it rejects: whoever asks finds the system away. */
  check(): Promise<void>;
}

/** It goes on by itself after an error. */
export interface LoadClient extends Partial<AsyncDisposable> {
  /**
   * One operation, for as long as a client of this system waits at most. Resolves when it is acknowledged. Rejects with `Refused` where it surely has not
   * happened, with anything else where that is unknown.
   */
  operate(): Promise<void>;
}

/** The system has said no, or was never asked. */
export class Refused extends Error {}

/** Broken ones that are named; the rest are counted. */
const namedMax = 10;

/** One promise, and what became of it in each case that was looked at. */
export class Promised {
  readonly promise: string;
  readonly #cases: string;
  #held = 0;
  #broken = 0;
  #named: string[] = [];

  /** As the system's documents say it; and what a case is: `uploads read back`. */
  constructor(promise: string, cases: string) {
    this.promise = promise;
    this.#cases = cases;
  }

  holds(): void {
    this.#held++;
  }

  /** Says what exactly is missing, or wrong. */
  breaks(what: string): void {
    this.#broken++;
    if (this.#named.length < namedMax) this.#named.push(what);
  }

  /** Forgets all cases: of a promise that a check looks at as a whole. */
  anew(): void {
    [this.#held, this.#broken, this.#named] = [0, 0, []];
  }

  /** Before it is judged, and where there was no case, it may be broken, but is not kept. */
  verdict(isJudged: boolean): Verdict {
    const kept = this.#broken > 0 ? false : isJudged && this.#held > 0 ? true : null;
    const more = this.#broken > this.#named.length ? [`and ${this.#broken - this.#named.length} more`] : [];
    const cases = this.#held + this.#broken;
    const counts = cases === 0 && !isJudged ? `${this.#cases}: checked at the end` : `${this.#held} of ${cases} ${this.#cases}`;
    return { promise: this.promise, kept, detail: [counts, ...this.#named, ...more].join('\n') };
  }
}

export interface LoadOptions {
  /** Operations that arrive in a second, whether those before are done or not; one client does one at a time, and what finds none waits. */
  readonly rate: number;
  readonly clients: number;
  /** How long to wait in the end for a system that takes no work. */
  readonly patienceMs?: number;
}

/** Longer than a fault of `npx nx break` lasts by default, and than RabbitMQ takes to come back. */
const patienceMsByDefault = 180_000;
/** A client that was not served does not use up all that has arrived meanwhile. */
const pauseMs = 200;
/** Between two looks whether the system takes work again. */
const lookMs = 500;
/** Reasons that are told apart. */
const reasonsMax = 50;
/** To let go of a client whose system is away. */
const partingMs = 5_000;

/** Dispose of it (`await using`) and its clients are gone, judged or not. */
export class Load implements AsyncDisposable {
  readonly #workload: Workload;
  readonly #options: Required<LoadOptions>;
  readonly #startMs = performance.now();
  readonly #over = new AbortController();
  readonly #working: Promise<void>;
  /** When each client began the operation in its hand, and the last that was acknowledged. */
  readonly #begunMs = new Map<number, number>();
  readonly #acknowledgedMs = new Map<number, number>();
  #arrivals = 0;
  #acknowledgedLastMs = performance.now();
  /** The longest time at work in which no operation was acknowledged, so far. */
  longestWaitMs = 0;
  /** When it began. */
  longestWaitFrom = new Date();
  #isJudged = false;
  #stopped: Promise<void> | undefined;
  /** Operations, by what became of them: `unknown` ones may have happened. */
  readonly counts = { acknowledged: 0, refused: 0, unknown: 0 };
  /** Why operations were not acknowledged, and how many of each. */
  readonly reasons = new Map<string, number>();
  /** What is waited for in the end. */
  waitsFor: string | undefined;

  /** Begins at once; whether the system is there is seen from the counts. */
  constructor(workload: Workload, options: LoadOptions) {
    this.#workload = workload;
    this.#options = { patienceMs: patienceMsByDefault, ...options };
    const numbers = Array.from({ length: options.clients }, (_, index) => index + 1);
    this.#working = Promise.all(numbers.map((number) => this.#work(number))).then(() => undefined);
    // Told to whoever stops it.
    this.#working.catch(() => undefined);
  }

  /** Operations that have begun and not ended. */
  get inHand(): number {
    return this.#begunMs.size;
  }

  /** Operations that have arrived and found no client free. */
  get waiting(): number {
    const arrived = Math.floor(((performance.now() - this.#startMs) / 1_000) * this.#options.rate) + 1;
    return Math.max(0, arrived - this.#arrivals);
  }

  /** Resolves when each client has an operation acknowledged that it began after now. */
  async goesOn(): Promise<void> {
    const nowMs = performance.now();
    const has = (number: number): boolean => (this.#acknowledgedMs.get(number) ?? 0) > nowMs;
    const all = Array.from({ length: this.#options.clients }, (_, index) => index + 1);
    const probe = (): boolean => {
      const without = all.filter((number) => !has(number));
      if (without.length > 0) throw new Error(`nothing is acknowledged to client ${without.join(', ')}; ${this.#whyNot()}`);
      return true;
    };
    await eventually(probe, { timeoutMs: this.#options.patienceMs });
  }

  /** Resolves at a moment at which operations are in hand, with how many. */
  async amidWork(): Promise<number> {
    return eventually(() => this.inHand, { intervalMs: 1 });
  }

  /**
   * Begins nothing more; resolves when what is in hand has ended, and the system takes work again. Rejects with what it waited for where that takes too
   * long. What hangs although the system takes work is given up as unknown.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#measure();
    this.#over.abort();
    const { patienceMs } = this.#options;
    const late = (): Error => new Error(`not within ${patienceMs / 1_000} s: ${this.waitsFor}`);
    const drained = withDeadline(this.#working, patienceMs, late).catch((error: unknown) => {
      if (this.inHand === 0) throw error;
      for (const number of [...this.#begunMs.keys()]) this.#ended(number, 'unknown', 'it did not end');
    });
    await Promise.all([drained, withDeadline(this.#takesWork(patienceMs), patienceMs, late)]);
    this.waitsFor = undefined;
  }

  /** Resolves when an operation of a new client is acknowledged. */
  async #takesWork(withinMs: number): Promise<void> {
    const untilMs = performance.now() + withinMs;
    this.waitsFor = 'one more operation is being tried';
    while (performance.now() < untilMs) {
      try {
        return await this.#once();
      } catch (error) {
        this.waitsFor = `the system takes no operation: ${reasonOf(error)}`;
      }
      await wait(lookMs);
    }
  }

  async #once(): Promise<void> {
    const client = await this.#workload.connect(this.#options.clients + 1);
    try {
      await client.operate();
      this.counts.acknowledged++;
    } finally {
      await part(client);
    }
  }

  /** How each promise stands now. */
  get soFar(): Verdict[] {
    return this.#workload.promises.map((promised) => promised.verdict(this.#isJudged));
  }

  /** Stops, and checks every promise; again while the check itself finds the system away. */
  async verdicts(): Promise<Verdict[]> {
    await this.stop();
    const untilMs = performance.now() + this.#options.patienceMs;
    this.waitsFor = 'every promise is being checked';
    while (!this.#isJudged) {
      try {
        await this.#workload.check();
        this.#isJudged = true;
      } catch (error) {
        if (performance.now() > untilMs) throw error;
        this.waitsFor = `the check found the system away: ${reasonOf(error)}`;
        await wait(lookMs);
      }
    }
    this.waitsFor = undefined;
    return this.soFar;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    // Clients whose system is away may hang.
    await withDeadline(this.#working, Math.min(partingMs, this.#options.patienceMs), () => new Error('clients hang')).catch(
      () => undefined,
    );
  }

  async #work(number: number): Promise<void> {
    let client: LoadClient | undefined;
    while (await this.#arrival()) {
      const begunMs = performance.now();
      this.#begunMs.set(number, begunMs);
      try {
        client ??= await this.#workload.connect(number).catch((error: unknown) => {
          throw new Refused(reasonOf(error));
        });
        await client.operate();
        this.#ended(number, 'acknowledged');
        this.#acknowledgedMs.set(number, begunMs);
      } catch (error) {
        this.#ended(number, error instanceof Refused ? 'refused' : 'unknown', reasonOf(error));
        await this.#pass(pauseMs);
      }
    }
    if (client !== undefined) await part(client);
  }

  #measure(): void {
    if (this.#over.signal.aborted) return;
    const nowMs = performance.now();
    const waitedMs = nowMs - this.#acknowledgedLastMs;
    if (waitedMs > this.longestWaitMs) {
      this.longestWaitMs = waitedMs;
      this.longestWaitFrom = new Date(Date.now() - waitedMs);
    }
    this.#acknowledgedLastMs = nowMs;
  }

  /** Counts the operation in this client's hand, once. */
  #ended(number: number, outcome: keyof typeof this.counts, reason?: string): void {
    if (!this.#begunMs.delete(number)) return;
    this.counts[outcome]++;
    if (outcome === 'acknowledged') this.#measure();
    if (reason === undefined) return;
    const key = this.reasons.has(reason) || this.reasons.size < reasonsMax ? reason : 'other reasons';
    this.reasons.set(key, (this.reasons.get(key) ?? 0) + 1);
  }

  /** Waits for the next operation that is due; false when there is to be none. */
  async #arrival(): Promise<boolean> {
    if (this.#over.signal.aborted) return false;
    const dueMs = this.#startMs + (this.#arrivals++ * 1_000) / this.#options.rate;
    await this.#pass(dueMs - performance.now());
    return !this.#over.signal.aborted;
  }

  async #pass(ms: number): Promise<void> {
    if (ms > 0) await wait(ms, undefined, { signal: this.#over.signal }).catch(() => undefined);
  }

  #whyNot(): string {
    const [last = 'no operation has failed'] = [...this.reasons.keys()].slice(-1);
    return `${this.inHand} operations in hand; last: ${last}`;
  }
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error)).slice(0, 300);

/** Of what may hang. */
export async function part(from: Partial<AsyncDisposable>): Promise<void> {
  const parting = (async () => from[Symbol.asyncDispose]?.())();
  await withDeadline(parting, partingMs, () => new Error('it hangs')).catch(() => undefined);
}
