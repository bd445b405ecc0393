/** `npx nx simulate bike-analytics`. */
import { simulateProgram } from '@lab/simulation';
import { simulatedBike } from './simulated-system.ts';

process.exitCode = await simulateProgram(simulatedBike(), process);
