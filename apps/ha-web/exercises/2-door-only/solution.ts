/** A machine that is cut off for a moment: what was the primary has to follow, and can only in a new life. */
import { runScenario } from '@lab/simulation';
import { expect, it } from 'vitest';
import { simulatedDatabases } from '../../test/simulated-system.ts';

const load = { clients: 1, diskLost: 0 };

it('all promises are kept', async () => {
  const faults = [{ key: 'db-1.1 observe #4 mariadb cut off', arg: 1_305 }];
  const { broken, fired } = await runScenario(simulatedDatabases(), { seed: 5, load, faults });
  // Otherwise there is no such place.
  expect(fired).toEqual(faults);
  expect(broken).toBeUndefined();
});
