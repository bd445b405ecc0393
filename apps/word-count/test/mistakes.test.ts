/** The simulation can fail: it finds the mistakes in the counter, and says which few faults are enough. */
import { join } from 'node:path';
import { findFailure } from '@lab/simulation';
import { makeMutant } from '@lab/testing';
import { expect, it } from 'vitest';
import type { Counter } from '../src/roles/counter.ts';
import { underFaults } from './mistakes.ts';
import { simulatedWordCount } from './simulated-system.ts';

/** The rarest is found by one seed of a hundred; which one hangs on the names of queues, and so on that of the app. */
const seedsMax = 2_000;

it.each(underFaults)('a counter that $rule is found out', async (mistake) => {
  using mutant = makeMutant(join(import.meta.dirname, '../src'), { ...mistake, file: mistake.file.slice('src/'.length) });
  const { Counter: Mutant } = (await mutant.import('roles/counter.ts')) as { Counter: typeof Counter };
  const failure = await findFailure(simulatedWordCount(Mutant), seedsMax);
  expect(failure?.scenario.faults?.length).toBeLessThanOrEqual(5);
});
