import { FakeClock } from '@lab/testing';
import { expect, it } from 'vitest';
import { TimeOfDay } from './world.ts';

it('a time of day jumps, goes back, stands still, and is right again then', () => {
  const clock = new FakeClock();
  const time = new TimeOfDay(clock, 1_000);
  time.jump(5_000, 10);
  expect(time.nowMs()).toBe(6_000);
  clock.advance(10);
  expect(time.nowMs()).toBe(1_010);
  time.stand(20);
  clock.advance(19);
  expect(time.nowMs()).toBe(1_010);
  clock.advance(1);
  expect(time.nowMs()).toBe(1_030);
});
