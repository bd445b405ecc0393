/** The log group and its replicas under faults in simulated time; `mistakes.ts` has what it must see. */
import { simulateSeeds } from '@lab/simulation';
import { expect, test } from 'vitest';
import { simulatedGroup } from './simulated-system.ts';

const seeds = 100;

test('whatever dies, hangs or is cut off, all accept one order, and what resolved is in it', { timeout: 1_200_000 }, async () => {
  const happened = new Set<string>();
  await simulateSeeds(
    simulatedGroup(undefined, (what) => void happened.add(what)),
    seeds,
    process.env,
  );
  if (process.env['SEED'] !== undefined || Number(process.env['SEEDS'] ?? seeds) < seeds) return;
  const expected = ['applied', 'applied as leader', 'FencedError', 'IndefiniteError', 'fell behind', 'put out or renewed'];
  expect([...happened]).toEqual(expect.arrayContaining([...expected, 'checkpoints not answered']));
});
