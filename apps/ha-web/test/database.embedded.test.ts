/** The databases' simulation can fail: it finds a server that shows rows before its replica has them. */
import { findFailure } from '@lab/simulation';
import { expect, it } from 'vitest';
import { simulatedDatabases } from './simulated-system.ts';

const timeout = 900_000;

it(
  'would show rows that are gone after a failover, if they were to be seen before the replica has them',
  { timeout },
  async () => {
    const failure = await findFailure(simulatedDatabases('AFTER_COMMIT'), 200);
    expect(failure?.promise).toBe('No read shows a row that a failover loses');
    expect(failure!.detail).toMatch(/not linearizable on .* read\("[^"]*"\) → false/s);
    expect(failure!.scenario.faults!.length).toBeLessThanOrEqual(5);
  },
);
