/** The whole system under faults that follow from a seed: simulated-system.ts says which promises are checked, and how. */
import { simulateSeeds } from '@lab/simulation';
import { it, vi } from 'vitest';
import { simulatedBackups } from './simulated-system.ts';

/** What hangs ends by simulated time, however slow the machine; this is for what hangs without it. */
vi.setConfig({ testTimeout: 600_000 });

it('every listed version restores, and every path has a new one in the end, whatever dies, is cut, gets full or loses its power', () =>
  simulateSeeds(simulatedBackups(), 200, process.env));
