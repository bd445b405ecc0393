/** A batch that is published twice is added once. */
import { runScenario } from '@lab/simulation';
import { expect, it } from 'vitest';
import { simulatedBike } from '../../test/simulated-system.ts';

const load = { clients: 1, data: 1, trips: 30, batchRows: 10, windowBytes: 1_000, shards: 1, poison: 0 };

it('all promises are kept', async () => {
  const faults = [{ key: 'broker-trips.1 publish #1 bike-analytics.filter-trips-1.batches twice', arg: 0 }];
  const { broken, fired } = await runScenario(simulatedBike(), { seed: 1, load, faults });
  // Otherwise there is no such place.
  expect(fired).toEqual(faults);
  expect(broken).toBeUndefined();
});
