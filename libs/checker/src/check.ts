/**
 * Linearizability (Herlihy and Wing, 1990): there is an order of the operations in which each comes after those that were answered before its call, and
 * sees what it would see if they ran one after the other. The search for such an order is Wing's and Gong's (1993) with Lowe's memo (2017).
 */
import { explain } from './explain.ts';
import type { Invocation, Operation } from './history.ts';

/** An object, as it is when one client uses it at a time. */
export interface Model<State, Input extends Invocation, Output> {
  /** States can be written as JSON, equal ones as the same text, and nobody changes them. `undefined` is none. */
  readonly initial: State;
  /**
   * The state after the operation, or `undefined` if it cannot have answered so in this state. Of an operation without an answer it is the state after
   * it has happened.
   */
  step(state: State, operation: Operation<Input, Output>): State | undefined;
  /**
   * The part of the object that an operation uses, such as a key: a history is linearizable if what it says of each part is (P-compositionality). Default:
   * the object is one.
   */
  partition?(input: Input): string;
}

export type Verdict<State, Input extends Invocation, Output> =
  | { readonly result: 'linearizable'; readonly steps: number }
  | { readonly result: 'not linearizable'; readonly steps: number; readonly failure: Failure<State, Input, Output> }
  /** The search was given up: its time and its memory have a limit. */
  | { readonly result: 'unknown'; readonly steps: number; readonly partition: string };

/** The first operation that fits nowhere, by the times of the answers: no order explains it and all that was answered before it was. */
export interface Failure<State, Input extends Invocation, Output> {
  readonly partition: string;
  /** An order that explains all that was answered before `misfit` was. */
  readonly order: readonly Operation<Input, Output>[];
  /** The state after it. */
  readonly state: State;
  readonly misfit: Operation<Input, Output>;
  /** What was under way when it was answered, and is not in `order`. */
  readonly underWay: readonly Operation<Input, Output>[];
}

/** A step takes a microsecond or less; at worst each keeps some 100 bytes. */
const defaultStepsMax = 4_000_000;

/**
 * Judges a history. A step is one try to place one operation; no part of the object gets more than `stepsMax` of them. Where one part is wrong and another
 * one undecided, the verdict is the wrong one.
 */
export function check<State, Input extends Invocation, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
  stepsMax = defaultStepsMax,
): Verdict<State, Input, Output> {
  const parts = Map.groupBy(history, ({ input }) => model.partition?.(input) ?? '');
  let steps = 0;
  let undecided: string | undefined;
  for (const [partition, operations] of parts) {
    const search = new Search(model, operations);
    const outcome = search.run(stepsMax);
    steps += search.steps;
    if (outcome === 'unknown') undecided ??= partition;
    else if (outcome !== 'linearizable') return { result: 'not linearizable', steps, failure: { partition, ...outcome } };
  }
  return undecided === undefined ? { result: 'linearizable', steps } : { result: 'unknown', steps, partition: undecided };
}

/** The history is not linearizable, or nobody knows whether it is. */
export class NotLinearizableError extends Error {
  constructor(message: string) {
    super(message);
    this.name = new.target.name;
  }
}

/** Throws a `NotLinearizableError` that explains it, unless the history is known to be linearizable. */
export function assertLinearizable<State, Input extends Invocation, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
  stepsMax?: number,
): void {
  const verdict = check(model, history, stepsMax);
  if (verdict.result !== 'linearizable') throw new NotLinearizableError(explain(verdict));
}

/** An operation that fits, by its number, and what follows. */
interface Move<State> {
  readonly number: number;
  readonly state: State;
  readonly stateText: string;
}

/** What was placed so far, as a chain back to the beginning. */
interface Level<State> {
  readonly before: Level<State> | undefined;
  /** The move that leads here from there; at the beginning that of no operation. */
  readonly by: Move<State>;
  /** How many operations are placed. */
  readonly depth: number;
  /** Whose answer is the first that is due: its operation must be placed before anything that was called later. */
  readonly due: number;
  /** What may come next; those without an answer are looked for last. */
  moves: Move<State>[];
  tried: number;
  isComplete: boolean;
}

/** Of one part. Operations have numbers: the answered ones by their calls, after them the others by their calls. */
class Search<State, Input extends Invocation, Output> {
  steps = 0;
  readonly #model: Model<State, Input, Output>;
  readonly #operations: readonly Operation<Input, Output>[];
  readonly #calledMs: Float64Array;
  /** `Infinity` without an answer. */
  readonly #answeredMs: Float64Array;
  readonly #answeredCount: number;
  /** A ring of the answered operations that have no place yet, by their calls; `#answeredCount` is its head. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** One bit for each operation. */
  readonly #placed: Uint32Array;
  /** Where the search has been: what was placed, and the state after it. In which order, makes no difference to what follows. */
  readonly #seen = new Set<string>();

  constructor(model: Model<State, Input, Output>, operations: readonly Operation<Input, Output>[]) {
    const byCall = operations.toSorted((a, b) => a.calledMs - b.calledMs);
    const answered = byCall.filter(({ answer }) => answer !== undefined);
    const count = answered.length;
    this.#model = model;
    this.#operations = [...answered, ...byCall.filter(({ answer }) => answer === undefined)];
    this.#calledMs = Float64Array.from(this.#operations, ({ calledMs }) => calledMs);
    this.#answeredMs = Float64Array.from(this.#operations, ({ answer }) => answer?.ms ?? Infinity);
    this.#answeredCount = count;
    this.#next = Int32Array.from({ length: count + 1 }, (_, number) => (number + 1) % (count + 1));
    this.#previous = Int32Array.from({ length: count + 1 }, (_, number) => (number + count) % (count + 1));
    this.#placed = new Uint32Array((operations.length >>> 5) + 1);
  }

  run(stepsMax: number): 'linearizable' | 'unknown' | Omit<Failure<State, Input, Output>, 'partition'> {
    const { initial } = this.#model;
    let level = this.#level(undefined, { number: -1, state: initial, stateText: JSON.stringify(initial) });
    let furthest = level;
    while (this.#next[this.#answeredCount] !== this.#answeredCount) {
      if (this.steps > stepsMax) return 'unknown';
      const move: Move<State> | undefined = this.#nextMove(level);
      if (move !== undefined) {
        this.#place(move.number);
        if (this.#isNew(move.stateText)) level = this.#level(level, move);
        else this.#unplace(move.number);
      } else {
        if (this.#isFurther(level, furthest)) furthest = level;
        if (level.before === undefined) return this.#failure(furthest);
        this.#unplace(level.by.number);
        level = level.before;
      }
    }
    return 'linearizable';
  }

  #level(before: Level<State> | undefined, by: Move<State>): Level<State> {
    const head = this.#answeredCount;
    const reads: Move<State>[] = [];
    const writes: Move<State>[] = [];
    let due = head;
    for (
      let number = this.#next[head]!;
      number !== head && this.#calledMs[number]! <= (this.#answeredMs[due] ?? Infinity);
      number = this.#next[number]!
    ) {
      if (this.#answeredMs[number]! < (this.#answeredMs[due] ?? Infinity)) due = number;
      const move = this.#move(by.state, number);
      if (move !== undefined) (move.stateText === by.stateText ? reads : writes).push(move);
    }
    // What changes nothing here hinders least what comes next.
    return { before, by, depth: (before?.depth ?? -1) + 1, due, moves: [...reads, ...writes], tried: 0, isComplete: false };
  }

  #move(from: State, number: number): Move<State> | undefined {
    this.steps++;
    const state = this.#model.step(from, this.#operations[number]!);
    return state === undefined ? undefined : { number, state, stateText: JSON.stringify(state) };
  }

  #nextMove(level: Level<State>): Move<State> | undefined {
    if (level.tried === level.moves.length && !level.isComplete) {
      level.isComplete = true;
      level.moves.push(...this.#unansweredMoves(level));
    }
    return level.moves[level.tried++];
  }

  /** Without those that change nothing: nobody can tell whether they have happened. */
  #unansweredMoves({ by, due }: Level<State>): Move<State>[] {
    const moves: Move<State>[] = [];
    for (let number = this.#answeredCount; this.#calledMs[number]! <= this.#answeredMs[due]!; number++) {
      const move = this.#isPlaced(number) ? undefined : this.#move(by.state, number);
      if (move !== undefined && move.stateText !== by.stateText) moves.push(move);
    }
    return moves;
  }

  /** By the answer that is due; where it is the same, without what is of no help. */
  #isFurther(one: Level<State>, other: Level<State>): boolean {
    const laterMs = this.#answeredMs[one.due]! - this.#answeredMs[other.due]!;
    return (laterMs || one.due - other.due || other.depth - one.depth) > 0;
  }

  #isPlaced(number: number): boolean {
    return (this.#placed[number >>> 5]! & (1 << (number & 31))) !== 0;
  }

  #place(number: number): void {
    this.#placed[number >>> 5]! |= 1 << (number & 31);
    if (number >= this.#answeredCount) return;
    this.#next[this.#previous[number]!] = this.#next[number]!;
    this.#previous[this.#next[number]!] = this.#previous[number]!;
  }

  /** Undoes the last `#place` that was not undone: the operation's neighbours are what they were then. */
  #unplace(number: number): void {
    this.#placed[number >>> 5]! &= ~(1 << (number & 31));
    if (number >= this.#answeredCount) return;
    this.#next[this.#previous[number]!] = number;
    this.#previous[this.#next[number]!] = number;
  }

  #isNew(stateText: string): boolean {
    const count = this.#seen.size;
    return this.#seen.add(`${this.#placedText()}|${stateText}`).size > count;
  }

  /**
   * Which operations are placed. All before the first in the ring are, and none that was called after its answer; so a long history costs no more than what
   * is open at one time.
   */
  #placedText(): string {
    const first = this.#next[this.#answeredCount]!;
    const firstAnsweredMs = this.#answeredMs[first] ?? -Infinity;
    let text = `${first}`;
    for (let word = first >>> 5; word << 5 < this.#answeredCount && this.#calledMs[word << 5]! <= firstAnsweredMs; word++)
      text += `,${this.#placed[word]!.toString(36)}`;
    for (let number = this.#answeredCount; number < this.#operations.length; number++)
      if (this.#isPlaced(number)) text += `+${number}`;
    return text;
  }

  #failure(level: Level<State>): Omit<Failure<State, Input, Output>, 'partition'> {
    const numbers: number[] = [];
    for (let each = level; each.before !== undefined; each = each.before) numbers.push(each.by.number);
    const order = numbers.reverse().map((number) => this.#operations[number]!);
    const misfit = this.#operations[level.due]!;
    const known = new Set([...order, misfit]);
    const underWay = this.#operations.filter((each) => each.calledMs <= misfit.answer!.ms && !known.has(each));
    return { order, state: level.by.state, misfit, underWay };
  }
}
