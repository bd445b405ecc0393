/** `npx nx simulate group` */
import { simulateProgram } from '@lab/simulation';
import { simulatedGroup } from './simulated-system.ts';

process.exitCode = await simulateProgram(simulatedGroup(), process);
