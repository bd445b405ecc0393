/** The entry: settings of the process itself, before anything is loaded. */
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

enableCompileCache(process.env['NODE_COMPILE_CACHE'] ?? join(homedir(), '.cache', 'lab-ha-web', 'code'));
const { main } = await import('./programs.ts');
// At once: a connection that somebody still waits for must not keep a program alive that has ended, as its supervisor would not start it again.
process.exit(await main({ args: process.argv.slice(2), env: process.env }));
