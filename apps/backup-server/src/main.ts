/** The entry: settings of the process itself, before anything is loaded. */
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

// An admin's command takes longer to compile than to run. The user's own folder, not the temporary one, Node's default: what is run from there, everybody on
// the machine could have written.
enableCompileCache(process.env['NODE_COMPILE_CACHE'] ?? join(homedir(), '.cache', 'lab-backup-server', 'code'));
const { main } = await import('./programs.ts');
process.exitCode = await main({ args: process.argv.slice(2), env: process.env });
