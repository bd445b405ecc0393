/** `npm run update -- --from ../kit`: merges what has changed in the kit since this repository was made of it, or was last updated. The kit does it. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const help = `Usage: npm run update -- --from KIT

Merges what has changed in the lab kit, whose checkout is the folder KIT, since this repository was made of it, or last
updated. Ends with 1 where Git leaves conflicts to you; what is not committed here must be committed before.
`;

try {
  const { values } = parseArgs({ options: { from: { type: 'string' }, help: { type: 'boolean', short: 'h' } } });
  if (values.help === true) process.stdout.write(help);
  else {
    if (values.from === undefined) throw new Error(`the kit is missing\n\n${help}`);
    const program = resolve(process.env['INIT_CWD'] ?? '.', values.from, 'tools/eject.ts');
    if (!existsSync(program)) throw new Error(`${values.from} is no checkout of the kit: it has no tools/eject.ts`);
    const { update } = (await import(pathToFileURL(program).href)) as { update: (folder: string) => Promise<boolean> };
    process.exitCode = (await update(join(import.meta.dirname, '..'))) ? 0 : 1;
  }
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 2;
}
