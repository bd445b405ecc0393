import { sleep } from '@lab/process';
import { FakeClock, seededRandom } from '@lab/testing';
import { expect, it } from 'vitest';
import { FaultPlan } from './faults.ts';
import { TimeOfDay, World } from './world.ts';

it('a time of day jumps, goes back, stands still, runs fast, and is right again then', () => {
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
  time.run(1.5, 100);
  clock.advance(90);
  expect(time.nowMs()).toBe(1_165);
  clock.advance(10);
  expect(time.nowMs()).toBe(1_130);
});

it('a clock of a process keeps its pace in what it measures and in what it waits for', async () => {
  const plan = FaultPlan.replayed([{ key: 'slow.1 clock #1 own runs slow', arg: 100 }]);
  const world = new World({ plan, random: seededRandom(1), faultsForMs: 1, settleMs: 10_000, liveness: 'both are done' });
  const lasted = (name: string): Promise<number> =>
    new Promise((resolve) =>
      world.start(name, async ({ clock }) => {
        await sleep(clock, 900);
        expect(clock.nowMs()).toBeCloseTo(900);
        resolve(world.clock.nowMs());
      }),
    );
  expect(await world.until(Promise.all([lasted('right'), lasted('slow')]))).toEqual([900, 1_000]);
  world.end();
});
