/**
 * The agents' protocol, on two modelled machines: whatever fails and whenever, no row that a client was told is stored is lost, and none that a client has read is
 * gone for the next.
 */
import { simulateSeeds } from '@lab/simulation';
import { it } from 'vitest';
import { simulatedDatabases } from './simulated-system.ts';

// Each run has a limit of its own; all together take as long as the machine is busy.
const timeout = 900_000;

it(
  'loses no acknowledged row, shows none that may be lost, and is whole again when all that was killed, paused or cut off has healed',
  { timeout },
  () => simulateSeeds(simulatedDatabases(), 200, process.env),
);
