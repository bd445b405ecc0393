import { eventually, FakeClock } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { BackOff, inTime, retry, sleep, systemClock } from './time.ts';

describe('systemClock', () => {
  it('calls once after the delay, not before', async () => {
    const startMs = systemClock.nowMs();
    const calls: number[] = [];
    systemClock.after(20, () => calls.push(systemClock.nowMs() - startMs));
    let ticks = 0;
    const stop = systemClock.every(20, () => ticks++);
    await eventually(() => ticks >= 3);
    stop();
    expect(calls).toHaveLength(1);
    // Node's timers count whole milliseconds and may be one early.
    expect(calls[0]).toBeGreaterThanOrEqual(19);
  });

  it('calls neither a cancelled delay nor a stopped interval', async () => {
    const calls: string[] = [];
    systemClock.after(1, () => calls.push('delay'))();
    const stop = systemClock.every(1, () => {
      calls.push('tick');
      stop();
    });
    let later = 0;
    const stopLater = systemClock.every(5, () => later++);
    await eventually(() => later >= 3);
    stopLater();
    expect(calls).toEqual(['tick']);
  });
});

describe('BackOff', () => {
  it('doubles up to its limit, between half and all of it, and begins anew', () => {
    const shortest = new BackOff({ pauseMs: { first: 100, most: 500 }, random: () => 0 });
    expect(Array.from({ length: 5 }, () => shortest.nextMs())).toEqual([50, 100, 200, 250, 250]);
    const longest = new BackOff({ pauseMs: { first: 100, most: 500 }, random: () => 0.999_999 });
    expect(Array.from({ length: 4 }, () => Math.round(longest.nextMs()))).toEqual([100, 200, 400, 500]);
    longest.reset();
    expect(Math.round(longest.nextMs())).toBe(100);
    const equal = new BackOff({ pauseMs: 100, random: () => 0 });
    expect([equal.nextMs(), equal.nextMs(), equal.nextMs()]).toEqual([50, 50, 50]);
  });
});

describe('retry', () => {
  /** Fails so many times, then gives the number of tries. */
  const failing = (times: number) => {
    let tries = 0;
    return (): number => {
      if (tries++ < times) throw new Error(`try ${tries}`);
      return tries;
    };
  };
  /** Moves the clock on until it is settled. */
  const settle = async <T>(clock: FakeClock, work: Promise<T>): Promise<T> => {
    let settled = false;
    const end = (): void => void (settled = true);
    work.then(end, end);
    while (!settled) await clock.advanceAsync(10);
    return work;
  };
  const options = (clock: FakeClock) => ({ clock, random: () => 0.5, withinMs: 10_000 });

  it('tries until it works, and tells of each pause', async () => {
    const clock = new FakeClock();
    const told: string[] = [];
    const onRetry = (error: unknown, pauseMs: number): void => void told.push(`${(error as Error).message}: ${pauseMs}`);
    expect(await settle(clock, retry(failing(3), { ...options(clock), onRetry }))).toBe(4);
    expect(told).toEqual(['try 1: 75', 'try 2: 150', 'try 3: 300']);
    expect(clock.nowMs()).toBeGreaterThanOrEqual(525);
  });

  it('has its jitter from the clock, where that has one', async () => {
    const clock = new FakeClock();
    const told: number[] = [];
    const onRetry = (_: unknown, pauseMs: number): void => void told.push(pauseMs);
    const withChance = Object.assign(clock, { random: () => 0.25 });
    await settle(clock, retry(failing(2), { clock: withChance, withinMs: 10_000, onRetry }));
    expect(told).toEqual([62.5, 125]);
  });

  it('gives the last error where the next try would be too late', async () => {
    const clock = new FakeClock();
    await expect(settle(clock, retry(failing(9), { ...options(clock), withinMs: 300 }))).rejects.toThrow('try 3');
    expect(clock.nowMs()).toBeLessThanOrEqual(300);
  });

  it('gives an error at once that another try would not help', async () => {
    const clock = new FakeClock();
    await expect(retry(failing(9), { ...options(clock), worthwhile: () => false })).rejects.toThrow('try 1');
  });

  it('ends with the reason of its signal, in the middle of a pause', async () => {
    const clock = new FakeClock();
    const abort = new AbortController();
    const work = retry(failing(9), { ...options(clock), signal: abort.signal, onRetry: () => abort.abort(new Error('enough')) });
    await expect(work).rejects.toThrow('enough');
    expect(clock.nowMs()).toBe(0);
  });

  it('sleeps on the clock that it is given', async () => {
    const clock = new FakeClock();
    await settle(clock, sleep(clock, 1_000));
    expect(clock.nowMs()).toBeGreaterThanOrEqual(1_000);
  });
});

describe('inTime', () => {
  const late = (): Error => new Error('late');

  it('is what the work is, and leaves no timer behind', async () => {
    const clock = new FakeClock();
    let timers = 0;
    const after = (delayMs: number, run: () => void): (() => void) => {
      timers++;
      const cancel = clock.after(delayMs, run);
      return () => {
        timers--;
        cancel();
      };
    };
    expect(await inTime({ after }, 100, Promise.resolve(1), late)).toBe(1);
    await expect(inTime({ after }, 100, Promise.reject(new Error('broken')), late)).rejects.toThrow('broken');
    expect(timers).toBe(0);
  });

  it('is an error once it has taken too long', async () => {
    const clock = new FakeClock();
    const work = inTime(clock, 100, new Promise<never>(() => {}), late);
    clock.advance(100);
    await expect(work).rejects.toThrow('late');
  });
});
