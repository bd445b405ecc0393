/** The whole system under faults that follow from a seed. */
import { simulateSeeds } from '@lab/simulation';
import { describe, it, vi } from 'vitest';
import { simulatedBike } from './simulated-system.ts';

/** What hangs ends by simulated time, however slow the machine; this is for what hangs without it. */
vi.setConfig({ testTimeout: 600_000 });

describe('the answers are those of a straight loop', () => {
  it('whatever dies, breaks, comes twice or late', () => simulateSeeds(simulatedBike(), 200, process.env));
});
