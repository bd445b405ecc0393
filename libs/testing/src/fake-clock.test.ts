import { describe, expect, it } from 'vitest';
import { FakeClock } from './fake-clock.ts';

function traced(): { clock: FakeClock; trace: string[]; mark: (name: string) => () => void } {
  const clock = new FakeClock();
  const trace: string[] = [];
  return { clock, trace, mark: (name) => () => void trace.push(`${name} at ${clock.nowMs()}`) };
}

describe('FakeClock', () => {
  it('stands still until it is advanced', () => {
    const { clock, trace, mark } = traced();
    clock.after(0, mark('due now'));
    expect(clock.nowMs()).toBe(0);
    expect(trace).toEqual([]);
    clock.advance(0);
    expect(trace).toEqual(['due now at 0']);
  });

  it('runs timers in the order in which they are due, each at its own time', () => {
    const { clock, trace, mark } = traced();
    clock.after(30, mark('late'));
    clock.after(10, mark('early'));
    clock.after(31, mark('not yet'));
    clock.advance(30);
    expect(trace).toEqual(['early at 10', 'late at 30']);
    expect(clock.nowMs()).toBe(30);
  });

  it('runs timers that are due together in the order in which they were set', () => {
    const { clock, trace, mark } = traced();
    clock.every(10, mark('tick'));
    clock.after(20, mark('once'));
    clock.advance(20);
    // The tick for 20 was set when it ticked at 10, after the other.
    expect(trace).toEqual(['tick at 10', 'once at 20', 'tick at 20']);
  });

  it('runs timers that timers set, when they fall due on the way', () => {
    const { clock, trace, mark } = traced();
    clock.after(10, () => clock.after(5, mark('inner')));
    clock.advance(14);
    expect(trace).toEqual([]);
    clock.advance(1);
    expect(trace).toEqual(['inner at 15']);
  });

  it('runs neither a timer nor an interval that was cancelled', () => {
    const { clock, trace, mark } = traced();
    clock.after(10, mark('timer'))();
    const stop = clock.every(10, () => {
      mark('tick')();
      if (clock.nowMs() === 20) stop();
    });
    clock.advance(100);
    expect(trace).toEqual(['tick at 10', 'tick at 20']);
  });

  it('lets a loop of waits run to its end at the right times when advanced asynchronously', async () => {
    const { clock, trace, mark } = traced();
    const wait = (ms: number): Promise<void> => new Promise((resolve) => void clock.after(ms, resolve));
    const loop = (async () => {
      for (let round = 0; round < 3; round++) {
        await wait(10);
        mark('round')();
      }
    })();
    await clock.advanceAsync(30);
    await loop;
    expect(trace).toEqual(['round at 10', 'round at 20', 'round at 30']);
    expect(clock.nowMs()).toBe(30);
  });

  it('refuses times that could not pass', () => {
    const clock = new FakeClock();
    expect(() => clock.advance(-1)).toThrow(RangeError);
    expect(() => clock.after(Number.NaN, () => {})).toThrow('a time of NaN ms is not zero or more');
    expect(() => clock.every(0, () => {})).toThrow('a time of 0 ms is not more than zero');
  });
});
