/** `npx nx simulate word-count` */
import { simulateProgram } from '@lab/simulation';
import { simulatedWordCount } from './simulated-system.ts';

export const system = simulatedWordCount();
if (import.meta.main) process.exitCode = await simulateProgram(system, process);
