import { eventually } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { systemClock } from './clock.ts';

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
