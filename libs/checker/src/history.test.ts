import { FakeClock } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { decodeHistory, encodeHistory, History, type CounterInput } from './index.ts';

const add: CounterInput = { op: 'add', amount: 1 };

describe('a history', () => {
  it('has the times of calls and answers, and an order where the clock stands still', () => {
    const clock = new FakeClock();
    const history = new History<CounterInput, number>(clock);
    const first = history.begin('a', add);
    first.ok(1);
    clock.advance(5);
    const second = history.begin('b', add);
    history.begin('c', add).ok(2);
    second.ok(3);
    expect(history.operations).toEqual([
      { client: 'a', input: add, calledMs: 0, answer: { output: 1, ms: 0.001 } },
      { client: 'b', input: add, calledMs: 5, answer: { output: 3, ms: expect.closeTo(5.003, 9) as number } },
      {
        client: 'c',
        input: add,
        calledMs: expect.closeTo(5.001, 9) as number,
        answer: { output: 2, ms: expect.closeTo(5.002, 9) as number },
      },
    ]);
  });

  it('forgets what surely did not happen, and keeps without an answer what may have', () => {
    const history = new History<CounterInput, number>(new FakeClock());
    history.begin('a', add).failed();
    history.begin('b', add).unknown();
    history.begin('c', add);
    expect(history.operations.map(({ client, answer }) => [client, answer])).toEqual([
      ['b', undefined],
      ['c', undefined],
    ]);
  });

  it('ends an operation once', () => {
    const call = new History<CounterInput, number>(new FakeClock()).begin('a', add);
    call.unknown();
    expect(() => call.ok(1)).toThrow("a's add has ended before");
  });

  it('records work by how it settles', async () => {
    const history = new History<CounterInput, number>(new FakeClock());
    const hasFailed = (error: unknown): boolean => error instanceof RangeError;
    const record = (work: () => Promise<number>) => history.record('a', add, work, hasFailed);
    expect(await record(async () => 1)).toBe(1);
    await expect(record(() => Promise.reject(new RangeError('no')))).rejects.toThrow(RangeError);
    await expect(record(() => Promise.reject(new Error('timeout')))).rejects.toThrow('timeout');
    expect(history.operations.map(({ answer }) => answer?.output)).toEqual([1, undefined]);
  });
});

describe('a saved history', () => {
  it('is a line of JSON for each operation, and is loaded as it was', () => {
    const history = new History<CounterInput, number | undefined>(new FakeClock());
    history.begin('a', add).ok(1);
    history.begin('é', { op: 'read' }).unknown();
    const text = encodeHistory(history.operations);
    expect(text.split('\n')[0]).toBe(
      '{"client":"a","input":{"op":"add","amount":1},"calledMs":0,"answer":{"output":1,"ms":0.001}}',
    );
    expect(decodeHistory(text)).toEqual(history.operations);
    expect(decodeHistory('')).toEqual([]);
  });

  it('that is damaged is refused, with the line', () => {
    const line = encodeHistory([{ client: 'a', input: add, calledMs: 4, answer: { output: 1, ms: 5 } }]);
    const damages = [
      '',
      'null',
      line.slice(0, 20),
      line.replace('"a"', '1'),
      line.replace('"op"', '"o"'),
      line.replace('"ms":5', '"ms":3'),
    ];
    for (const damage of damages)
      expect(() => decodeHistory(`${line}${damage.trimEnd()}\n${line}`)).toThrow('line 2 of the history is no operation');
  });
});
