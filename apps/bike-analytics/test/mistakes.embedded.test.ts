/** The simulation can fail: it finds mistakes in the roles. */
import { join } from 'node:path';
import { findFailure, outageKinds, paceKinds } from '@lab/simulation';
import { makeMutant } from '@lab/testing';
import { expect, it, vi } from 'vitest';
import type { readFiles } from '../src/roles/file-reader.ts';
import type { wire } from '../src/wiring.ts';
import { mistakes } from './mistakes.ts';
import { simulatedBike } from './simulated-system.ts';

/** What hangs ends by simulated time, however slow the machine; this is for what hangs without it. */
vi.setConfig({ testTimeout: 600_000 });

// The rest of the list takes minutes: `npm run mutants` has all of it.
it.each(mistakes.slice(0, 3))('a role that $rule is found out', async (mistake) => {
  using mutant = makeMutant(join(import.meta.dirname, '../src'), { ...mistake, file: mistake.file.slice('src/'.length) });
  const source = {
    ...((await mutant.import('wiring.ts')) as { wire: typeof wire }),
    ...((await mutant.import('roles/file-reader.ts')) as { readFiles: typeof readFiles }),
  };
  const system = simulatedBike(source);
  // Fewer kinds are enough, and leave a shorter list.
  const kinds = system.kinds.filter((kind) => ![...outageKinds, ...paceKinds, 'dies meanwhile'].includes(kind));
  const failure = await findFailure({ ...system, kinds }, 200);
  expect(failure?.scenario.faults?.length).toBeLessThanOrEqual(5);
});
