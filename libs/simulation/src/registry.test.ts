/** What a registry does to its clients, fault by fault. */
import { sleep } from '@lab/process';
import { seededRandom } from '@lab/testing';
import { expect, it } from 'vitest';
import { FaultPlan, type Fault } from './faults.ts';
import { SimulatedRegistry } from './registry.ts';
import { World, type Life } from './world.ts';

type Run = (registry: SimulatedRegistry, world: World, done: (result: unknown) => void) => void;

/** What the run says under these faults. */
async function under(faults: readonly Fault[], run: Run): Promise<unknown> {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const options = { random: seededRandom(1), faultsForMs: 1_000_000, settleMs: 100_000, liveness: 'it ends' };
  const world = new World({ ...options, plan: FaultPlan.replayed(faults) });
  run(new SimulatedRegistry(world, 1_500), world, resolve);
  try {
    return await world.until(promise);
  } finally {
    world.end();
  }
}

/** One process writes the record, and says what it hears; then what stands there. */
const write: Run = (registry, world, done) =>
  world.start('writer', async (life: Life) => {
    const { clock } = life;
    const record = registry.connect(life).record('record');
    const version = await record.write('text', undefined).catch((error: Error) => error.name);
    await sleep(clock, 5_000);
    done([version, (await record.read())?.version]);
  });

it('a write whose answer is lost for long has happened once, and nobody can tell', async () => {
  const cut = { key: 'writer.1 write #1 record answered cut from registry', arg: 4_000 };
  expect(await under([], write)).toEqual([0, 0]);
  expect(await under([{ ...cut, arg: 100 }], write)).toEqual([0, 0]);
  expect(await under([cut], write)).toEqual(['UnavailableError', 0]);
});

/** One waits to lead until the one that leads is gone; says after how long. */
const lead: Run = (registry, world, done) => {
  const candidate = (isFirst: boolean) => async (life: Life) => {
    const { clock } = life;
    const discovery = registry.connect(life);
    if (!isFirst) await sleep(clock, 100);
    await discovery.elect('role', life.name);
    if (!isFirst) done(world.clock.nowMs());
    await discovery.list('others');
  };
  world.start('first', candidate(true));
  world.start('second', candidate(false));
};

it.each(['dies after', 'pauses', 'cut from registry'])('the session of one that %s ends, and another leads', async (kind) => {
  const fault = { key: `first.1 list #1 others ${kind}`, arg: 20_000 };
  expect(await under([fault], lead)).toSatisfy((ms: number) => ms >= 1_100 && ms <= 1_600);
  await expect(under([], lead)).rejects.toThrow('nothing is left that could happen');
});
