/** The entry: it loads the rest. */
import { startProgram } from '@lab/process/start';

process.exitCode = await startProgram('backup-server', () => import('./programs.ts'), process);
