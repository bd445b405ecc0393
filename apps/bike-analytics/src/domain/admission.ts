/**
 * What the entry point lets in. Two bounds, over all sessions:
 *
 * - **Window**: the bytes of batches that not every filter has reported yet. It keeps the broker's queues short however large the input is
 *   and however slow a filter; a batch's bytes come back once, with the last report, so a repeated report gives nothing.
 * - **Unfinished batches**: barriers and solvers hold a session's messages unacknowledged until it is complete, and a consumer can hold
 *   65,535. One half of `batchesMax` is for the first session that sends, until it ends: it can always finish, so no two sessions wait for each
 *   other. Of the other half each of the others may have as much as it leaves free, so that however many stand still there is always room for
 *   one more.
 */
import { filtersOf } from './queries.ts';
import type { FilterName, Topic } from './terms.ts';

export interface AdmissionLimits {
  windowBytes: number;
  batchesMax: number;
}

interface Waiting {
  session: string;
  bytes: number;
  admit(): void;
  refuse(reason: Error): void;
}

interface SessionCount {
  /** Batches let in, of each topic: numbers come in order, so a number below is a repeat and counts once. */
  batches: Map<Topic, number>;
  /** By topic and number: what not every filter has passed on. */
  underway: Map<string, { bytes: number; missing: Set<FilterName> }>;
}

export class Admission {
  readonly #limits: AdmissionLimits;
  /** In the order in which they were opened. */
  readonly #sessions = new Map<string, SessionCount>();
  /** Who has one half of the batches: one that sends nothing must not keep it. */
  #first: string | undefined;
  #waiting: Waiting[] = [];
  #bytes = 0;
  #batches = 0;

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  /** Begins to count for a session; `batches` are those that a predecessor has let in. */
  open(session: string, batches: ReadonlyMap<Topic, number> = new Map()): void {
    if (this.#sessions.has(session)) return;
    this.#sessions.set(session, { batches: new Map(batches), underway: new Map() });
    for (const count of batches.values()) this.#batches += count;
    if (this.#batchesOf(session) > 0) this.#first ??= session;
  }

  /** Resolves when the batch may go on its way; rejects when its session is closed, or is meanwhile. */
  async admit(session: string, topic: Topic, number: number, bytes: number): Promise<void> {
    if (!this.#sessions.has(session)) throw new Error(`session ${session} is closed`);
    this.#first ??= session;
    if (this.#fits(session, bytes)) return this.#begin(session, topic, number, bytes);
    await new Promise<void>((resolve, refuse) => {
      const admit = (): void => resolve(this.#begin(session, topic, number, bytes));
      this.#waiting.push({ session, bytes, admit, refuse });
    });
  }

  /** A filter has passed the batch on; what it has never heard of (a predecessor admitted it) is no news. */
  passed(session: string, topic: Topic, number: number, by: FilterName): void {
    const count = this.#sessions.get(session);
    const key = `${topic} ${number}`;
    const batch = count?.underway.get(key);
    if (!batch?.missing.delete(by) || batch.missing.size > 0) return;
    count?.underway.delete(key);
    this.#bytes -= batch.bytes;
    this.#wake();
  }

  /** Others wait for batches that this session has: it may not stand still for ever. */
  isWaitedFor(session: string): boolean {
    return (
      this.#batchesOf(session) > 0 && this.#waiting.some((each) => each.session !== session && !this.#hasBatches(each.session))
    );
  }

  /** Gives back everything that the session had, and refuses what it still waits for. */
  close(session: string): void {
    const count = this.#sessions.get(session);
    if (count === undefined) return;
    this.#sessions.delete(session);
    for (const batches of count.batches.values()) this.#batches -= batches;
    for (const batch of count.underway.values()) this.#bytes -= batch.bytes;
    for (const waiting of this.#waiting.filter((each) => each.session === session))
      waiting.refuse(new Error(`session ${session} is closed`));
    this.#waiting = this.#waiting.filter((each) => each.session !== session);
    if (session === this.#first) this.#first = [...this.#sessions.keys()].find((each) => this.#hasSent(each));
    this.#wake();
  }

  /** How many batches of the session not every filter has passed on. */
  underway(session: string): number {
    return this.#sessions.get(session)?.underway.size ?? 0;
  }

  /** The first of them, and whose report is missing. */
  missing(session: string): string | undefined {
    const [first] = this.#sessions.get(session)?.underway ?? [];
    if (first === undefined) return undefined;
    const [key, { missing }] = first;
    const [topic, number] = key.split(' ');
    return `batch ${number} of ${topic} has not passed filter-${[...missing].join(', filter-')}`;
  }

  /** Why the session's next batch waits, if it does. */
  waiting(session: string): string | undefined {
    const waiting = this.#waiting.find((each) => each.session === session);
    if (waiting === undefined) return undefined;
    if (!this.#hasBytes(waiting.bytes)) return `${this.#bytes} bytes of batches are under way, of ${this.#limits.windowBytes}`;
    return `it has ${this.#batchesOf(session)} batches, and ${this.#free} are free; ${this.#sessions.size} sessions share them`;
  }

  /** Bytes under way now; never above the window but for one batch larger than it. */
  get bytes(): number {
    return this.#bytes;
  }

  #begin(session: string, topic: Topic, number: number, bytes: number): void {
    const count = this.#sessions.get(session)!;
    const before = count.batches.get(topic) ?? 0;
    if (number >= before) {
      count.batches.set(topic, number + 1);
      this.#batches += number + 1 - before;
    }
    const key = `${topic} ${number}`;
    this.#bytes += bytes - (count.underway.get(key)?.bytes ?? 0);
    count.underway.set(key, { bytes, missing: new Set(filtersOf[topic].map(({ name }) => name)) });
  }

  #fits(session: string, bytes: number): boolean {
    return this.#hasBytes(bytes) && this.#hasBatches(session);
  }

  #hasBytes(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#limits.windowBytes;
  }

  #hasBatches(session: string): boolean {
    return session === this.#first || this.#batchesOf(session) < this.#free;
  }

  #hasSent(session: string): boolean {
    return this.#batchesOf(session) > 0 || this.#waiting.some((each) => each.session === session);
  }

  /** Batches that all but the first session may still have. */
  get #free(): number {
    return this.#limits.batchesMax / 2 - this.#batches + this.#batchesOf(this.#first!);
  }

  #batchesOf(session: string): number {
    return [...(this.#sessions.get(session)?.batches.values() ?? [])].reduce((sum, count) => sum + count, 0);
  }

  /** First come, first served, among those that may go on at all. */
  #wake(): void {
    for (;;) {
      const next = this.#waiting.findIndex((waiting) => this.#fits(waiting.session, waiting.bytes));
      if (next < 0) return;
      this.#waiting.splice(next, 1)[0]?.admit();
    }
  }
}
