import { describe, expect, it } from 'vitest';
import type { ServerState } from './next-step.ts';
import { Lag, Timing, Unchanged } from './timing.ts';

describe('Unchanged', () => {
  it('counts from the last change', () => {
    const quiet = new Unchanged(0);
    expect(quiet.ms('a', 100)).toBe(0);
    expect(quiet.ms('a', 300)).toBe(200);
    expect(quiet.ms('b', 400)).toBe(0);
    expect(quiet.ms('b', 401)).toBe(1);
  });
});

describe('Lag', () => {
  it('is none while all that was received is applied', () => {
    const lag = new Lag();
    lag.see(5, 0);
    expect(lag.ms(5, 60_000)).toBe(0);
  });

  it('is the age of the oldest transaction that is not applied, also under a steady load', () => {
    const lag = new Lag();
    lag.see(1, 0);
    lag.see(2, 100);
    lag.see(3, 200);
    expect(lag.ms(1, 250)).toBe(150);
    lag.see(4, 300);
    expect(lag.ms(2, 350)).toBe(150);
    expect(lag.ms(4, 400)).toBe(0);
  });

  it('does not forget how late a replica is that applies nothing', () => {
    const lag = new Lag();
    for (let at = 0; at <= 100_000; at += 200) lag.see(at + 1, at);
    expect(lag.ms(0, 100_000)).toBe(100_000);
  });
});

describe('Timing', () => {
  it('forgets a marker that the replica acknowledged before semi-sync was on', () => {
    const timing = new Timing(0);
    const server: ServerState = {
      ...{ bootId: 'boot-1', empty: false, epoch: 1, writable: true, semiSync: true, replicaBootId: 'boot-2' },
      ...{ waiting: 0, acknowledged: 1, position: 1, replication: undefined },
    };
    timing.confirm('boot-2');
    expect(timing.measure(server, undefined, 1).confirmed).toBe('boot-2');
    expect(timing.measure({ ...server, semiSync: false }, undefined, 2).confirmed).toBeUndefined();
    expect(timing.measure(server, undefined, 3).confirmed).toBeUndefined();
  });
});
