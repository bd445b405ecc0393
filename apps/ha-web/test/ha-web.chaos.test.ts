/**
 * The promises of the whole system, on containers, under steady load: every line of the table once, then faults that a seed chooses. After each, what was acknowledged is
 * compared with what the primary has. `npx nx chaos ha-web` runs fifty seeds; a few, which are run with all other tests, show that nothing is broken.
 */
import { seededRandom } from '@lab/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { brokenPromises, faults, fillStores, sameRows, type Drill } from '../deploy/drill/faults.ts';
import { Load } from '../deploy/drill/load.ts';
import { System } from '../deploy/drill/system.ts';

const people = 4;
/** A system that does not come back says what is missing after two minutes. */
const timeout = 400_000;
const seeds = Number(process.env['SEEDS'] ?? 2);
const firstSeed = Number(process.env['SEED'] ?? 1);

let drill: Drill;

beforeAll(async () => {
  const system = await System.of({ name: 'chaos', externalPrefix: '10.88.0', internalPrefix: '10.88.1' });
  drill = { system, load: new Load(system.url) };
  await system.down();
  await system.up();
  await fillStores({ system });
  await drill.load.start(people);
}, 300_000);

afterAll(async () => {
  await drill?.load.stop();
  await drill?.system.down();
}, 300_000);

async function ordersAreWhole(): Promise<void> {
  await drill.system.whole();
  expect(await brokenPromises(drill)).toEqual([]);
  expect(drill.load.givenUp).toEqual([]);
}

describe('the promise holds when it is', () => {
  it.each(faults.map((fault) => [fault.name, fault] as const))('%s', { timeout }, async (_, fault) => {
    for (const result of await fault.run(drill)) {
      console.log(`${result.fault}: ${result.measured}${result.holds ? '' : ' (NOT within the promise)'}`);
      expect(result.holdsRoughly, `${result.fault}: ${result.promise}; measured: ${result.measured}`).toBe(true);
    }
    await ordersAreWhole();
  });
});

describe('no acknowledged order is lost, and none is there twice', () => {
  it.each(Array.from({ length: seeds }, (_, index) => firstSeed + index))('faults of seed %i', { timeout }, async (seed) => {
    const random = seededRandom(seed);
    for (const fault of random.shuffle(faults).slice(0, 2)) await fault.run(drill);
    await ordersAreWhole();
  });

  it('and in the end both databases have the same rows', { timeout }, async () => {
    await drill.load.stop();
    await ordersAreWhole();
    await sameRows(drill.system);
  });
});
