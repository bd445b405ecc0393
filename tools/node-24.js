/** Loaded before a program (`node --import`): an older Node would stop at the first `.ts` file with a riddle, ERR_UNKNOWN_FILE_EXTENSION. */
import { problem } from './node-version.js';

if (problem !== undefined) {
  console.error(problem);
  process.exit(1);
}
