/** The databases' simulation can fail: it finds a server that shows rows before its replica has them. */
import { findFailure, paceKinds } from '@lab/simulation';
import { expect, it } from 'vitest';
import { simulatedDatabases } from './simulated-system.ts';

const timeout = 900_000;

it(
  'would show rows that are gone after a failover, if they were to be seen before the replica has them',
  { timeout },
  async () => {
    const system = simulatedDatabases('AFTER_COMMIT');
    // Fewer kinds are enough, and leave a shorter list.
    const kinds = system.kinds.filter((kind) => ![...paceKinds, 'dies meanwhile'].includes(kind));
    const failure = await findFailure({ ...system, kinds }, 200);
    expect(failure?.promise).toBe('No read shows a row that a failover loses');
    expect(failure!.detail).toMatch(/not linearizable on .* read\("[^"]*"\) → false/s);
    expect(failure!.scenario.faults!.length).toBeLessThanOrEqual(5);
  },
);
