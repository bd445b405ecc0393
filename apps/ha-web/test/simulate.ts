/** `npx nx simulate ha-web`. */
import { simulateProgram } from '@lab/simulation';
import { simulatedDatabases } from './simulated-system.ts';

process.exitCode = await simulateProgram(simulatedDatabases(), process);
