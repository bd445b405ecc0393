/** `npx nx simulate backup-server` */
import { simulateProgram } from '@lab/simulation';
import { simulatedBackups } from './simulated-system.ts';

process.exitCode = await simulateProgram(simulatedBackups(), process);
