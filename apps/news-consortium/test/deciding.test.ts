/** Who decides, and what moves, while agents and nodes die, hang and are cut off. */
import { simulateSeeds } from '@lab/simulation';
import { it } from 'vitest';
import { decidingContract } from './deciding-contract.ts';
import { MemoryDatabase } from './memory-database.ts';
import { simulatedConsortium } from './simulated-system.ts';

// Each run has a limit of its own; all together take as long as the machine is busy.
const timeout = 600_000;

it('one decides, nothing moves without need, and in the end every area is on living nodes', { timeout }, () =>
  simulateSeeds(simulatedConsortium, 200, process.env),
);

decidingContract('the simulation', async () => {
  const database = new MemoryDatabase();
  return {
    connect: async () => database.connect(),
    addArea: async (name) => database.setArea(name, 2),
    removeArea: async (name) => database.removeArea(name),
    addNode: async (id, address) => database.join({ id, name: address, address, healthAddress: address }),
  };
});
