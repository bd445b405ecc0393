/** The whole system under faults: those that follow from a seed, and lists of those that once broke a promise. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readSaved, runScenario, simulateSeeds } from '@lab/simulation';
import { describe, expect, it, vi } from 'vitest';
import { simulatedImageTagging } from './simulated-system.ts';

/** What hangs ends by simulated time, however slow the machine; this is for what hangs without it. */
vi.setConfig({ testTimeout: 600_000 });

const lists = join(import.meta.dirname, 'faults');

describe('what was answered is there, once and tagged', () => {
  it('whatever dies, hangs, fails, or comes twice or late', () => simulateSeeds(simulatedImageTagging, 200, process.env));

  it.each(readdirSync(lists))('after the faults of %s', async (list) => {
    const scenario = await readSaved(simulatedImageTagging, join(lists, list));
    const { broken, fired } = await runScenario(simulatedImageTagging, scenario);
    expect(broken).toBeUndefined();
    expect(fired).toHaveLength(scenario.faults!.length);
  });
});
