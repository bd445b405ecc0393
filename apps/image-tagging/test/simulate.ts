/** `npx nx simulate image-tagging` */
import { simulateProgram } from '@lab/simulation';
import { simulatedImageTagging } from './simulated-system.ts';

export const system = simulatedImageTagging;
if (import.meta.main) process.exitCode = await simulateProgram(system, process);
