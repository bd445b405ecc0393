/** What became of all that was submitted to replicas. */
import { History, type CounterInput } from '@lab/checker';
import type { Random } from '@lab/testing';
import type { Replica } from '../src/index.ts';

export type Count = (what: string) => void;

/** Of all processes of one simulation. */
export class Outcomes {
  readonly count: Count;
  /** In the order of the simulation's steps. */
  readonly history = new History<CounterInput, number>({ nowMs: () => 0 });
  readonly faults: string[] = [];
  /** With their places among the commands of whoever submitted them, from 1. */
  readonly applied: { readonly text: string; readonly place: number }[] = [];
  readonly fenced: string[] = [];

  constructor(count: Count) {
    this.count = count;
  }

  answered(text: string, place: unknown, asLeader: boolean): void {
    this.count(asLeader ? 'applied as leader' : 'applied');
    // Where it was applied the answer comes before anything else is.
    if (typeof place !== 'number') this.faults.push(`${text} resolved with ${String(place)}`);
    this.applied.push({ text, place: Number(place) });
  }

  failed(text: string, error: Error): void {
    this.count(error.name);
    if (error.name === 'FencedError') this.fenced.push(text);
    else if (error.name !== 'IndefiniteError') this.faults.push(`${text}: ${error.message}`);
  }
}

/** Of one process. */
export class Submissions {
  readonly #name: string;
  readonly #outcomes: Outcomes;
  submitted = 0;
  settled = 0;
  /** In which it has led. */
  readonly #epochs: number[] = [];

  constructor(name: string, outcomes: Outcomes) {
    this.#name = name;
    this.#outcomes = outcomes;
  }

  /** As anybody, as the leader that it is, or as the leader that it once was. Nothing is known of a process that is dead when the answer comes. */
  submit(replica: Replica, random: Random, isDead = (): boolean => false): void {
    const { leads } = replica;
    if (leads !== undefined && leads !== this.#epochs.at(-1)) this.#epochs.push(leads);
    const asLeader = this.#epochs.length > 0 && random.chance(0.5);
    const epoch = asLeader ? ((random.chance(0.7) ? leads : undefined) ?? random.pick(this.#epochs)) : undefined;
    const text = `${this.#name}:${++this.submitted}${asLeader ? ` in ${epoch}` : ''}`;
    const settle = (tell: () => void): void => {
      if (isDead()) return;
      this.settled++;
      tell();
    };
    const call = this.#outcomes.history.begin(this.#name, { op: 'add', amount: 1 });
    replica.submit(Buffer.from(text), epoch).then(
      (place) => settle(() => (call.ok(Number(place)), this.#outcomes.answered(text, place, asLeader))),
      (error: Error) =>
        settle(() => {
          if (error.name === 'FencedError') call.failed();
          this.#outcomes.failed(text, error);
        }),
    );
  }
}
