/** The entry: it loads the rest. */
import { startProgram } from '@lab/process/start';

const exitCode = await startProgram('ha-web', () => import('./programs.ts'), process);
// At once: a connection that somebody still waits for must not keep a program alive that has ended, as its supervisor would not start it again.
process.exit(exitCode);
