/** `npx nx simulate word-count` */
import { simulateProgram } from '@lab/simulation';
import { simulatedWordCount } from './simulated-system.ts';

process.exitCode = await simulateProgram(simulatedWordCount(), process);
