/** Objects as they are when one client uses them at a time. */
import type { Model } from './check.ts';
import type { Invocation } from './history.ts';

/** Many objects of one kind, each with its key, and each judged apart. */
export function byKey<State, Input extends Invocation, Output>(
  model: Model<State, Input, Output>,
): Model<State, Input & { readonly key: string }, Output> {
  return { ...model, partition: ({ key }) => key };
}

export type RegisterInput<Value> =
  | { readonly op: 'read' }
  | { readonly op: 'write'; readonly value: Value }
  | { readonly op: 'compareAndSet'; readonly expected: Value; readonly value: Value };

/** One value. A read answers the value, `compareAndSet` whether the value was as expected and has been set. */
export function register<Value>(initial: Value): Model<Value, RegisterInput<Value>, Value | boolean | undefined> {
  return {
    initial,
    step(value, { input, answer }) {
      if (input.op === 'write') return input.value;
      if (input.op === 'read') return answer === undefined || same(answer.output, value) ? value : undefined;
      const isSet = same(value, input.expected);
      if (answer !== undefined && answer.output !== isSet) return undefined;
      return isSet ? input.value : value;
    },
  };
}

export type CounterInput = { readonly op: 'read' } | { readonly op: 'add'; readonly amount: number };

/** A number that starts at 0. A read answers it; `add` answers what it is then, or nothing (`undefined`) if the counter does not tell. */
export const counter: Model<number, CounterInput, number | undefined> = {
  initial: 0,
  step(total, { input, answer }) {
    const after = input.op === 'add' ? total + input.amount : total;
    const isSilent = answer === undefined || (input.op === 'add' && answer.output === undefined);
    return isSilent || answer.output === after ? after : undefined;
  },
};

export type SetInput =
  | { readonly op: 'add' | 'remove' | 'has'; readonly element: string }
  /** All elements. */
  | { readonly op: 'list' };

/**
 * A set of texts, empty at first. `has` answers whether the element is in it, `list` all elements in any order; `add` and `remove` answer whether they
 * changed it, or nothing (`undefined`) if the set does not tell.
 */
export const set: Model<readonly string[], SetInput, boolean | readonly string[] | undefined> = {
  initial: [],
  step(elements, { input, answer }) {
    if (input.op === 'list') return answer === undefined || same(sorted(answer.output), elements) ? elements : undefined;
    const { op, element } = input;
    const isIn = elements.includes(element);
    if (op === 'has') return answer === undefined || answer.output === isIn ? elements : undefined;
    const changes = isIn === (op === 'remove');
    if (answer?.output !== undefined && answer.output !== changes) return undefined;
    if (!changes) return elements;
    return isIn ? elements.filter((each) => each !== element) : [...elements, element].sort();
  },
};

export interface LockInput {
  readonly op: 'acquire' | 'release';
}

export interface LockState {
  readonly holder: string | null;
  /** Of the last holder at least. */
  readonly epoch: number;
}

/**
 * A lock that one client holds at a time, each time with an epoch (a fencing token, 1 or more) above all before. `acquire` answers the epoch, or `null` to a
 * client that did not get it because there is a holder. `release` answers nothing, and is the holder's. For a holder that died or lost its lease, call a
 * `release` without an answer.
 */
export const lock: Model<LockState, LockInput, number | null | undefined> = {
  initial: { holder: null, epoch: 0 },
  step({ holder, epoch }, { client, input, answer }) {
    if (input.op === 'release') return holder === client ? { holder: null, epoch } : undefined;
    if (holder !== null) return answer === undefined || answer.output === null ? { holder, epoch } : undefined;
    if (answer === undefined) return { holder: client, epoch: epoch + 1 };
    return typeof answer.output === 'number' && answer.output > epoch ? { holder: client, epoch: answer.output } : undefined;
  },
};

const same = (one: unknown, other: unknown): boolean => one === other || JSON.stringify(one) === JSON.stringify(other);
const sorted = (output: unknown): unknown => (Array.isArray(output) ? [...(output as string[])].sort() : output);
