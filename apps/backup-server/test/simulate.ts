/** `npx nx simulate backup-server` */
import { simulateProgram } from '@lab/simulation';
import { simulatedBackups } from './simulated-system.ts';

export const system = simulatedBackups();
if (import.meta.main) process.exitCode = await simulateProgram(system, process);
