/** `npx nx simulate bike-analytics`. */
import { simulateProgram } from '@lab/simulation';
import { simulatedBike } from './simulated-system.ts';

export const system = simulatedBike();
if (import.meta.main) process.exitCode = await simulateProgram(system, process);
