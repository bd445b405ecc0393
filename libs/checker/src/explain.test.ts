import { describe, expect, it } from 'vitest';
import { assertLinearizable, byKey, check, explain, NotLinearizableError, register, type Operation } from './index.ts';

const model = byKey(register(0));
type Seen = Operation<{ op: 'read'; key: string } | { op: 'write'; key: string; value: number }, number | undefined>;
const writes = (count: number): Seen[] =>
  Array.from({ length: count }, (_, value) => ({
    ...{ client: 'alice', input: { op: 'write', key: 'x', value }, calledMs: 2 * value },
    answer: { output: undefined, ms: 2 * value + 1.5 },
  }));
const stale: Seen = { client: 'bob', input: { op: 'read', key: 'x' }, calledMs: 30, answer: { output: 7, ms: 31 } };
const lost: Seen = { client: 'carol', input: { op: 'write', key: 'x', value: 5 }, calledMs: 3 };

describe('explain', () => {
  it('shows what fits, the first operation that fits nowhere, and what was under way', () => {
    expect(explain(check(model, [...writes(2), stale, lost]))).toBe(`\
not linearizable on "x": no order of the operations explains what they saw
These fit, in this order:
  alice  write("x", 0) → ok  (from 0 ms to 1.5 ms)
  alice  write("x", 1) → ok  (from 2 ms to 3.5 ms)
Then the state is 1, and this fits nowhere:
  bob    read("x") → 7  (from 30 ms to 31 ms)
Under way then, and no help:
  carol  write("x", 5) → no answer  (called at 3 ms)`);
  });

  it('shows of a long order the end, and of a long value the beginning', () => {
    const long = explain(
      check(register(''), [
        { client: 'a', input: { op: 'write', value: 'x'.repeat(500) }, calledMs: 0, answer: { output: undefined, ms: 1 } },
        { client: 'b', input: { op: 'read' }, calledMs: 2, answer: { output: '', ms: 3 } },
      ]),
    );
    expect(long).toContain(`"${'x'.repeat(99)}…`);
    const lines = explain(check(model, [...writes(13), stale])).split('\n');
    expect(lines[1]).toBe('These fit, in this order (the last 10 of 13):');
    expect(lines.length).toBe(14);
  });

  it('says so where nothing fits', () => {
    expect(explain(check(model, [stale]))).toContain(
      'Nothing comes before.\nThen the state is 0, and this fits nowhere:\n  bob ',
    );
  });

  it('of an undecided history says what to do', () => {
    expect(explain({ result: 'unknown', steps: 9, partition: 'x' })).toMatch(
      /^unknown: given up after 9 steps on "x".*part it by keys/,
    );
  });
});

describe('assertLinearizable', () => {
  it('passes only what is known to be linearizable', () => {
    assertLinearizable(model, writes(3));
    expect(() => assertLinearizable(model, [...writes(3), stale])).toThrow(NotLinearizableError);
    expect(() => assertLinearizable(model, writes(3), 1)).toThrow(/^unknown: /);
  });
});
