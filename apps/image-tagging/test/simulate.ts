/** `npx nx simulate image-tagging` */
import { simulateProgram } from '@lab/simulation';
import { simulatedImageTagging } from './simulated-system.ts';

process.exitCode = await simulateProgram(simulatedImageTagging, process);
