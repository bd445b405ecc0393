import { expect, it } from 'vitest';
import type { Fault } from './faults.ts';
import { shrink } from './shrink.ts';
import { runScenario, type SimulatedSystem } from './system.ts';
import { PromiseBroken, type Life } from './world.ts';

const promise = 'It goes well';

/** One process that takes two steps and is through; whether that went well is said by how many were taken and when. */
const walk = (goesWell: (steps: number, nowMs: number) => boolean): SimulatedSystem => ({
  name: 'example',
  kinds: ['dies before', 'late'],
  workload: () => ({}),
  least: {},
  faultsForMs: 60_000,
  settleMs: 60_000,
  liveness: 'It gets through',
  promises: [promise],
  prepare: async () => async (world) => {
    const { promise: through, resolve } = Promise.withResolvers<void>();
    let steps = 0;
    const step = (life: Life): Promise<unknown> => life.call('take', 'step', String, async () => ++steps);
    world.start('walker', async (life) => {
      await step(life);
      await step(life);
      resolve();
    });
    await through;
    if (!goesWell(steps, world.clock.nowMs())) throw new PromiseBroken(promise, 'it did not');
  },
});

async function shrunk(system: SimulatedSystem, faults: Fault[]): Promise<readonly Fault[]> {
  const failure = await runScenario(system, { seed: 1, load: {}, faults });
  expect(failure.broken?.promise).toBe(promise);
  return (await shrink(system, failure)).outcome.fired;
}

it('a death in the third life is one in the first, where the two deaths before have no part in it', async () => {
  const places = ['walker.1 take #1 step', 'walker.2 take #1 step', 'walker.3 take #2 step'];
  const faults = places.map((place) => ({ key: `${place} dies before`, arg: 10 }));
  const left = await shrunk(
    walk((steps) => steps === 2),
    faults,
  );
  expect(left.map(({ key }) => key)).toEqual(['walker.1 take #2 step dies before']);
});

it('one long delay is enough where there were two short ones', async () => {
  const faults = [1, 2].map((step) => ({ key: `walker.1 take #${step} step late`, arg: 700 }));
  const left = await shrunk(
    walk((_, nowMs) => nowMs < 1_000),
    faults,
  );
  expect(left).toHaveLength(1);
});
