/** The entry: it loads the rest. */
import { startProgram } from '@lab/process/start';

process.exitCode = await startProgram('news-consortium', () => import('./programs.ts'), process);
