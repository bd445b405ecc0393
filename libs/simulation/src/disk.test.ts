/** What a disk does to its processes, fault by fault. */
import { sleep } from '@lab/process';
import { sync } from '@lab/store/durable';
import { seededRandom } from '@lab/testing';
import { expect, it } from 'vitest';
import { SimulatedDisk } from './disk.ts';
import { FaultPlan } from './faults.ts';
import { World } from './world.ts';

const uuid = '3fa85f64-5717-4562-b3fc-2c963f66afa6';

/** Two processes share a disk. What the first life of the writer hears, whether the other process takes its lock 500 ms later, and what is on the disk then. */
async function under(fault: string, arg = 0): Promise<{ heard: string[]; locks: boolean; left: string[] }> {
  const options = { random: seededRandom(1), faultsForMs: 1_000, settleMs: 1_000, liveness: 'it ends' };
  const world = new World({ ...options, plan: FaultPlan.replayed([{ key: fault, arg }]) });
  const disk = new SimulatedDisk(world);
  const heard: string[] = [];
  const done = Promise.withResolvers<boolean>();
  world.start('writer', async (life) => {
    if (life.number > 1) return;
    const mounted = disk.mount(life);
    const write = async (name: string): Promise<void> => {
      const failed = await mounted.writeFile(name, 'x'.repeat(1_000)).then(
        () => 'ok',
        ({ code }: { code: string }) => code,
      );
      heard.push(failed);
    };
    await mounted.tryLock('/lock');
    await write('/first');
    await sync('/first', mounted);
    await sync('/', mounted);
    await write(`/${uuid}`);
    await sleep(life.clock, 100);
    await write('/third');
  });
  world.start('other', async (life) => {
    await sleep(life.clock, 500);
    done.resolve((await disk.mount(life).tryLock('/lock')) !== undefined);
  });
  try {
    const locks = await world.until(done.promise);
    const { fake } = disk;
    const names = (await fake.readdir('/')).filter((name) => name !== 'lock');
    const sizes = names.map(async (name) => `${name} ${(await fake.stat(`/${name}`)).size}`);
    return { heard, locks, left: await Promise.all(sizes) };
  } finally {
    world.end();
  }
}

const all = [uuid, 'first', 'third'].map((name) => `${name} 1000`);

it('without a fault it is a disk', async () => {
  expect(await under('none')).toEqual({ heard: ['ok', 'ok', 'ok'], locks: false, left: all });
});

it('a call fails once, and has no effect', async () => {
  const outcome = await under('writer.1 writeFile #1 /* disk error');
  expect(outcome).toEqual({ heard: ['ok', 'EIO', 'ok'], locks: false, left: ['first 1000', 'third 1000'] });
});

it('a full disk takes a part, and has room again after a while', async () => {
  const { heard, left } = await under('writer.1 writeFile #1 /* disk full', 50);
  expect(heard).toEqual(['ok', 'ENOSPC', 'ok']);
  expect(left.filter((each) => !each.startsWith(uuid))).toEqual(['first 1000', 'third 1000']);
});

it('who dies has done all before, and holds no lock', async () => {
  const outcome = await under('writer.1 writeFile #1 /third dies before', 8_000);
  expect(outcome).toEqual({ heard: ['ok', 'ok'], locks: true, left: all.slice(0, 2) });
});

it('the power takes along what was not synced', async () => {
  const { heard, locks, left } = await under('writer.1 writeFile #1 /third all machines off', 8_000);
  expect({ heard, locks }).toEqual({ heard: ['ok', 'ok'], locks: true });
  expect(left).toContain('first 1000');
  expect(left).not.toContain('third 1000');
});
