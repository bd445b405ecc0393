/** A recording that grows while a system runs. What comes late is sorted in; what is too much is left out, away from faults. */
import type { SimulationEvent } from '@lab/simulation/events';
import { insert, insertDepths } from './insert.ts';
import { sampled, type Depths, type Live, type Recording } from './recording.ts';
import type { LiveEvent } from './spans.ts';

/** What a browser redraws within a moment. */
export const liveEventsMax = 20_000;
/** The last ones all stay, as somebody is looking at them. */
const lastMax = 4_000;
/** Of those before, this share stays each time that there are too many. */
const keptShare = 0.6;

/** What has come since the last time. `whole` where that is not all that has changed. */
export interface Update {
  readonly events: readonly SimulationEvent[];
  readonly whole: boolean;
}

/** What is known of a role. */
interface Known {
  /** Its lives. */
  readonly startsMs: number[];
  readonly processes: Set<string>;
  /** Somebody tells when it starts; of another a process that nobody has heard of is a new life. */
  isStarted: boolean;
}

export interface FeedOptions {
  readonly system: string;
  /** Ms since 1970: what was before is left out. */
  readonly startMs: number;
  readonly tells: Live['tells'];
  readonly known?: Live['known'];
}

export class Feed {
  readonly #startMs: number;
  readonly #tells: Live['tells'];
  readonly #known: Live['known'];
  readonly #roles = new Map<string, Known>();
  readonly #addresses = new Map<string, string>();
  readonly #listeners = new Set<(update: Update) => void>();
  #events: SimulationEvent[];
  #count = 1;
  #isSampled = false;
  #isOver = false;
  #depths: Depths[] = [];
  #ledger: Live['ledger'];

  constructor({ system, startMs, tells, known }: FeedOptions) {
    this.#startMs = startMs;
    this.#tells = tells;
    this.#known = known;
    this.#events = [{ ms: 0, type: 'run', version: 1, system, seed: undefined }];
  }

  /** Of a time in ms since 1970. */
  msOf(atMs: number): number {
    return Math.max(0, Math.round((atMs - this.#startMs) * 1_000) / 1_000);
  }

  /** Things have happened, in any order. A role that nobody has heard of starts with the first of them. */
  push(happened: readonly LiveEvent[]): void {
    const events = happened
      .filter(({ atMs }) => atMs >= this.#startMs)
      .sort((a, b) => a.atMs - b.atMs)
      .flatMap((event) => this.#placed(event));
    if (events.length === 0) return;
    for (const event of events) insert(this.#events, event);
    this.#count += events.length;
    const whole = this.#events.length > liveEventsMax;
    if (whole) this.#thin();
    for (const listener of this.#listeners) listener({ events, whole });
  }

  /** Calls to this address, at any port where it has none, are calls to this role. */
  servesAt(role: string, address: string): void {
    this.#addresses.set(address, role);
  }

  /** Another sample of the depths of queues. */
  pushDepths(atMs: number, queues: Depths['queues']): void {
    this.#depths = insertDepths(this.#depths, { ms: this.msOf(atMs), queues });
    for (const listener of this.#listeners) listener({ events: [], whole: false });
  }

  setLedger(ledger: Live['ledger']): void {
    this.#ledger = ledger;
    for (const listener of this.#listeners) listener({ events: [], whole: false });
  }

  get lastDepths(): Depths | undefined {
    return this.#depths.at(-1);
  }

  get ledger(): Live['ledger'] {
    return this.#ledger;
  }

  /** The run is over, and has kept its promises. Those who follow hear of nothing more. */
  end(atMs: number): void {
    this.#isOver = true;
    insert(this.#events, { ms: this.msOf(atMs), type: 'promise', broken: undefined, detail: '' });
    this.#listeners.clear();
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** All of it until now; of a run that is over, as of any that was recorded. */
  recording(nowMs: number): Recording {
    const first = this.#events[0] as SimulationEvent & { readonly type: 'run' };
    return {
      system: first.system,
      seed: undefined,
      events: [...this.#events],
      sampledFrom: this.#isSampled ? this.#count : undefined,
      live: this.#isOver
        ? undefined
        : {
            untilMs: this.msOf(nowMs),
            tells: this.#tells,
            known: this.#known,
            depths: this.#depths,
            ledger: this.#ledger,
          },
    };
  }

  /** Calls back with whatever comes. Returns how to end it. */
  follow(listener: (update: Update) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** With its ms and its life, and before it the start of a life that begins by it. */
  #placed({ atMs, process, ...event }: LiveEvent): SimulationEvent[] {
    const { role, type } = event;
    const known = this.#roles.get(role) ?? { startsMs: [], processes: new Set(), isStarted: false };
    this.#roles.set(role, known);
    const isOther = process !== undefined && !known.processes.has(process);
    const begins = known.startsMs.length === 0 || (isOther && !known.isStarted);
    if (process !== undefined) known.processes.add(process);
    if (type === 'start') known.isStarted = true;
    if (begins || type === 'start') known.startsMs.push(atMs);
    const life = Math.max(1, known.startsMs.filter((startMs) => startMs <= atMs).length);
    const ms = this.msOf(atMs);
    const to = event.type === 'call' && (this.#addresses.get(event.to) ?? this.#addresses.get(event.to.replace(/:\d+$/, '')));
    const placed = { ...event, ...(to && { to }), ms, life } as SimulationEvent;
    return begins && type !== 'start' ? [{ ms, type: 'start', role, life }, placed] : [placed];
  }

  #thin(): void {
    const [head, last] = [this.#events.slice(0, -lastMax), this.#events.slice(-lastMax)];
    this.#isSampled = true;
    const sample = sampled(head, ({ length }) => length <= head.length * keptShare);
    // Where starts, ends, faults and notes alone are too many, the oldest go.
    const starts = new Map(head.flatMap((event) => (event.type === 'start' ? [[event.role, event]] : [])));
    const rest = sample ?? [head[0]!, ...starts.values(), ...head.slice(-head.length * keptShare)];
    this.#events = [...rest, ...last];
  }
}
