/** `npx nx simulate news-consortium`. */
import { simulateProgram } from '@lab/simulation';
import { simulatedConsortium } from './simulated-system.ts';

export const system = simulatedConsortium;
if (import.meta.main) process.exitCode = await simulateProgram(system, process);
