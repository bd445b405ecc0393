/** The entry: settings of the process itself, before anything else is loaded. */
import { join } from 'node:path';
import { startProgram } from '@lab/process/start';

// The caption's font is a file of ours; without any configuration fontconfig complains that it has none.
process.env['FONTCONFIG_FILE'] ??= join(import.meta.dirname, '../deploy/fonts.conf');
process.exitCode = await startProgram('image-tagging', () => import('./programs.ts'), process);
