/** `npx nx simulate ha-web`. */
import { simulateProgram } from '@lab/simulation';
import { simulatedDatabases } from './simulated-system.ts';

export const system = simulatedDatabases();
if (import.meta.main) process.exitCode = await simulateProgram(system, process);
