/** The whole system under faults: those that follow from a seed, and lists of those that once broke a promise. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readSaved, runScenario, simulateSeeds } from '@lab/simulation';
import { describe, expect, it, vi } from 'vitest';
import { simulatedBike } from './simulated-system.ts';

/** What hangs ends by simulated time, however slow the machine; this is for what hangs without it. */
vi.setConfig({ testTimeout: 600_000 });

const lists = join(import.meta.dirname, 'faults');

describe('the answers are those of a straight loop', () => {
  it('whatever dies, breaks, comes twice or late', () => simulateSeeds(simulatedBike(), 200, process.env));

  it.each(readdirSync(lists))('after the faults of %s', async (list) => {
    const { broken, fired } = await runScenario(simulatedBike(), await readSaved(simulatedBike(), join(lists, list)));
    expect(broken).toBeUndefined();
    expect(fired.length).toBeGreaterThan(0);
  });
});
