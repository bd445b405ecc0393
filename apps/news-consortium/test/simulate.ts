/** `npx nx simulate news-consortium`. */
import { simulateProgram } from '@lab/simulation';
import { simulatedConsortium } from './simulated-system.ts';

process.exitCode = await simulateProgram(simulatedConsortium, process);
