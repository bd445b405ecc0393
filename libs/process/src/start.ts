/** The first thing that a program loads, and alone: what comes after it is compiled from the cache. */
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { ProgramProcess } from './program.ts';

/**
 * Loads a program and runs its `main`. What Node compiles is kept for the next start, as a client's command takes longer to compile than to run:
 * in `NODE_COMPILE_CACHE`, otherwise in the user's own folder. (What is run from the temporary one, Node's default, everybody on the machine
 * could have written.) Where that cannot be written, there is no cache. Resolves with the exit code.
 */
export async function startProgram(
  name: string,
  load: () => Promise<{ main: (host: ProgramProcess) => Promise<number> }>,
  host: ProgramProcess,
): Promise<number> {
  enableCompileCache(host.env['NODE_COMPILE_CACHE'] ?? join(homedir(), '.cache', `lab-${name}`, 'code'));
  const { main } = await load();
  return main(host);
}
