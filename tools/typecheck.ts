/** Checks the types of one package, or of all: `node tools/typecheck.ts libs/protocol`. What is known from the last time is not checked again. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder = '.'] = process.argv.slice(2);
const root = join(import.meta.dirname, '..');
const cache = join(root, 'node_modules/.cache/types', folder);
const config = join(cache, 'tsconfig.json');
const shared = join(root, 'tsconfig.json');
// The whole workspace is what tsconfig.json includes; of a package everything but what a browser runs, which has a check of its own.
const own = folder === '.' ? {} : { include: [join(root, folder, '**/*.ts')], exclude: [join(root, folder, 'src/**/page/**')] };

mkdirSync(cache, { recursive: true });
writeFileSync(
  config,
  JSON.stringify({ extends: shared, compilerOptions: { incremental: true, tsBuildInfoFile: join(cache, 'info') }, ...own }),
);
const { status } = spawnSync('tsc', ['-p', config], { cwd: root, stdio: 'inherit' });
process.exitCode = status ?? 1;
