/** The search against all permutations, on small histories with all kinds of answers, right and wrong. */
import { seededRandom } from '@lab/testing';
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { check, counter, byKey, lock, register, set, type Invocation, type Model, type Operation } from './index.ts';

/** Whether some order of these and of any others fits: by trying them all. */
function isLinearizable<State, Input extends Invocation, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
  required = history.filter(({ answer }) => answer !== undefined),
  state = model.initial,
): boolean {
  if (required.every((operation) => !history.includes(operation))) return true;
  return history.some((operation) => {
    const rest = history.filter((other) => other !== operation);
    if (rest.some(({ answer }) => answer !== undefined && answer.ms < operation.calledMs)) return false;
    const next = model.step(state, operation);
    return next !== undefined && isLinearizable(model, rest, required, next);
  });
}

/** Histories of up to six operations, by three clients. */
function histories<Input extends Invocation, Output>(
  inputs: fc.Arbitrary<Input>,
  outputOf: (input: Input) => fc.Arbitrary<Output>,
  isAnswered: fc.Arbitrary<boolean>,
): fc.Arbitrary<Operation<Input, Output>[]> {
  const client = fc.constantFrom('a', 'b', 'c');
  const operation = inputs.chain((input) =>
    fc.tuple(client, fc.nat(20), fc.nat(8), outputOf(input), isAnswered).map(([client, calledMs, takesMs, output, answered]) => ({
      ...{ client, input, calledMs },
      ...(answered && { answer: { output, ms: calledMs + takesMs } }),
    })),
  );
  return fc.array(operation, { minLength: 1, maxLength: 6 });
}

/** Fails unless the search agrees with brute force, and its explanation is true; and unless it has seen many histories of both verdicts. */
function agrees<State, Input extends Invocation, Output>(
  model: Model<State, Input, Output>,
  inputs: fc.Arbitrary<Input>,
  outputOf: (input: Input) => fc.Arbitrary<Output>,
  isAnswered: fc.Arbitrary<boolean>,
): void {
  const counts = { linearizable: 0, 'not linearizable': 0, unknown: 0 };
  const property = (history: Operation<Input, Output>[]): void => {
    const verdict = check(model, history);
    counts[verdict.result]++;
    expect(verdict.result === 'linearizable').toBe(isLinearizable(model, history));
    if (verdict.result !== 'not linearizable') return;
    const { order, state, misfit } = verdict.failure;
    const byAnswer = history
      .filter(({ answer }) => answer !== undefined)
      .sort((one, other) => one.answer!.ms - other.answer!.ms || one.calledMs - other.calledMs);
    const earlier = byAnswer.slice(0, byAnswer.indexOf(misfit));
    expect(earlier.filter((operation) => !order.includes(operation))).toEqual([]);
    expect(order.reduce((from, operation) => model.step(from, operation)!, model.initial)).toEqual(state);
    expect(isLinearizable(model, history, [...earlier, misfit])).toBe(false);
  };
  fc.assert(fc.property(histories(inputs, outputOf, isAnswered), property), { numRuns: 2_000, seed: 1 });
  expect(Math.min(counts.linearizable, counts['not linearizable'])).toBeGreaterThan(200);
}

const small = fc.nat(2);
const element = fc.constantFrom('x', 'y');
const nothing = fc.constant(undefined);
const numbers = register(0);

describe.each([
  ['all answered', fc.constant(true)],
  ['some without an answer', fc.boolean()],
])('the search agrees with all permutations, %s', (_, isAnswered) => {
  test('a register', () => {
    const inputs = fc.oneof(fc.constant({ op: 'read' as const }), fc.record({ op: fc.constant('write' as const), value: small }));
    agrees(numbers, inputs, ({ op }) => (op === 'read' ? small : nothing), isAnswered);
  });

  test('a register with compare-and-set', () => {
    const inputs = fc.oneof(
      fc.constant({ op: 'read' as const }),
      fc.record({ op: fc.constant('compareAndSet' as const), expected: small, value: small }),
    );
    agrees(numbers, inputs, ({ op }) => (op === 'read' ? small : fc.boolean()), isAnswered);
  });

  test('a counter', () => {
    const inputs = fc.oneof(fc.constant({ op: 'read' as const }), fc.record({ op: fc.constant('add' as const), amount: small }));
    agrees(counter, inputs, ({ op }) => (op === 'read' ? small : fc.option(small, { nil: undefined })), isAnswered);
  });

  test('a set', () => {
    const op = fc.constantFrom('add' as const, 'remove' as const, 'has' as const);
    const inputs = fc.oneof({ weight: 3, arbitrary: fc.record({ op, element }) }, fc.constant({ op: 'list' as const }));
    const outputOf = ({ op }: { op: string }): fc.Arbitrary<boolean | string[] | undefined> => {
      if (op === 'list') return fc.shuffledSubarray(['x', 'y']);
      return op === 'has' ? fc.boolean() : fc.option(fc.boolean(), { nil: undefined });
    };
    agrees(set, inputs, outputOf, isAnswered);
  });

  test('a lock', () => {
    const inputs = fc.record({ op: fc.constantFrom('acquire' as const, 'release' as const) });
    const epoch = fc.option(fc.integer({ min: 1, max: 4 }), { nil: null });
    agrees(lock, inputs, ({ op }) => (op === 'acquire' ? epoch : nothing), isAnswered);
  });

  test('counters by their keys', () => {
    const inputs = fc.oneof(
      fc.record({ op: fc.constant('read' as const), key: element }),
      fc.record({ op: fc.constant('add' as const), key: element, amount: small }),
    );
    const each = byKey(counter);
    const history = histories(inputs, ({ op }) => (op === 'read' ? small : nothing), isAnswered);
    fc.assert(
      fc.property(history, (all) => {
        const parts = ['x', 'y'].map((key) => all.filter(({ input }) => input.key === key));
        expect(check(each, all).result === 'linearizable').toBe(parts.every((part) => isLinearizable(counter, part)));
      }),
      { seed: 1 },
    );
  });
});

describe('the limit of steps', () => {
  /** Writes at one time, and a read of what nobody wrote. */
  const crowd = (count: number): Operation<{ op: 'read' } | { op: 'write'; value: number }, number | undefined>[] => [
    ...Array.from({ length: count }, (_, value) => ({
      ...{ client: `c${value}`, input: { op: 'write' as const, value }, calledMs: 0 },
      answer: { output: undefined, ms: 10 },
    })),
    { client: 'r', input: { op: 'read' }, calledMs: 11, answer: { output: -1, ms: 12 } },
  ];

  it('gives a search up, and says so: that is no success', () => {
    expect(check(numbers, crowd(20), 1_000)).toMatchObject({ result: 'unknown', partition: '' });
    expect(check(numbers, crowd(4), 1_000).result).toBe('not linearizable');
  });

  it('leaves no doubt of a history with a part that is surely wrong', () => {
    const inPart = (key: string, count: number) => crowd(count).map((each) => ({ ...each, input: { ...each.input, key } }));
    const history = [...inPart('crowded', 20), ...inPart('wrong', 2)];
    expect(check(byKey(numbers), history, 1_000)).toMatchObject({
      result: 'not linearizable',
      failure: { partition: 'wrong' },
    });
  });

  it('is far from 100,000 operations of 20 clients over 100 keys: they take less than two steps each', () => {
    const history = longHistory(100_000);
    const verdict = check(byKey(numbers), history);
    expect(verdict.result).toBe('linearizable');
    expect(verdict.steps).toBeLessThan(200_000);
    const last = history.findLastIndex(({ input }) => input.op === 'read');
    const wrong = history.with(last, { ...history[last]!, answer: { ...history[last]!.answer!, output: -1 } });
    expect(check(byKey(numbers), wrong).result).toBe('not linearizable');
  });
});

/** What 20 clients see of 100 registers, each operation having its effect at some moment between call and answer. */
function longHistory(count: number) {
  type Input = ({ op: 'read' } | { op: 'write'; value: number }) & { key: string };
  const random = seededRandom(1);
  const freeMs = Array.from({ length: 20 }, () => 0);
  const calls = Array.from({ length: count }, (_, number) => {
    const client = number % freeMs.length;
    const calledMs = freeMs[client]! + random.next();
    const ms = (freeMs[client] = calledMs + 5 * random.next());
    const key = `key ${random.integer(1, 100)}`;
    const input: Input = random.chance(0.5) ? { op: 'read', key } : { op: 'write', key, value: number };
    return { client: `client ${client}`, input, calledMs, ms, effectMs: calledMs + random.next() * (ms - calledMs) };
  });
  const values = new Map<string, number>();
  return calls
    .sort((a, b) => a.effectMs - b.effectMs)
    .map(({ client, input, calledMs, ms }): Operation<Input, number | undefined> => {
      if (input.op === 'write') values.set(input.key, input.value);
      const output = input.op === 'write' ? undefined : (values.get(input.key) ?? 0);
      return { client, input, calledMs, answer: { output, ms } };
    });
}
