/**
 * Every app is a template: `npm run new` copies it under another name, nothing outside the copy is touched but the lock file, and the workspace is as
 * tidy as before; `npm run eject` makes a repository of the copy, where types, tests and demo pass. It happens in a scratch copy of the workspace.
 */
import { execFile, execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { portOf } from './docker/compose.ts';
import { eject, install } from './tools/eject.ts';
import { makeCopy } from './tools/new.ts';
import { repositoryFiles } from './tools/repository-files.ts';

const execute = promisify(execFile);
const root = import.meta.dirname;
/** Beside the original, so that packages can be linked instead of copied. */
const scratch = join(root, 'tmp', 'copy-of-workspace');
const ejected = join(root, 'tmp', 'ejected');
const apps = readdirSync(join(root, 'apps'));
/** Of a simulation's seeds, enough to see that it runs. */
const env = { ...process.env, SEEDS: '4', INIT_CWD: undefined, npm_config_loglevel: 'error' };

async function run(cwd: string, program: string, ...args: string[]): Promise<string> {
  const { stdout, stderr } = await execute(program, args, { cwd, env, maxBuffer: 64 * 1024 * 1024 }).catch(
    (error: Error & { stdout: string }) => {
      throw new Error(`${program} ${args.join(' ')} in ${cwd} failed:\n${error.stdout.slice(-8_000)}`, { cause: error });
    },
  );
  return stdout + stderr;
}

/** What every file has in it, but for the copies, the lock file, and what is made of other files. */
function treeOutsideCopies(): Map<string, string> {
  const files = readdirSync(scratch, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !/\/(node_modules|\.nx|tmp)\//.test(path.slice(scratch.length)));
  const copies = apps.map((app) => `${join(scratch, 'apps', nameOf(app))}/`);
  const outside = paths.filter((path) => !copies.some((copy) => path.startsWith(copy)) && !path.endsWith('/package-lock.json'));
  return new Map(outside.map((path) => [path, readFileSync(path, 'utf8')]));
}

/** Its demo runs on containers, and takes minutes: its own suites are about those. */
function needsEngine(app: string): boolean {
  const manifest = JSON.parse(readFileSync(join(root, 'apps', app, 'package.json'), 'utf8')) as { lab?: { demo?: string } };
  return manifest.lab?.demo === 'engine';
}

/** The test of the whole system: `system.test.ts`, or where there is only one, that. */
function systemTest(folder: string, name: string): string {
  const tests = readdirSync(join(folder, 'apps', name, 'test')).filter((file) => /^[^.]+\.test\.ts$/.test(file));
  return `apps/${name}/test/${tests.includes('system.test.ts') ? 'system.test.ts' : tests[0]!}`;
}

const nameOf = (app: string): string => `${app}-copied`;

let before: ReadonlyMap<string, string>;

beforeAll(async () => {
  for (const folder of [scratch, ejected]) rmSync(folder, { recursive: true, force: true });
  for (const file of repositoryFiles(root)) {
    mkdirSync(join(scratch, dirname(file)), { recursive: true });
    cpSync(join(root, file), join(scratch, file));
  }
  execFileSync('cp', ['-al', join(root, 'node_modules'), scratch]);
  // npm writes into it, and so through the link into that of the original.
  rmSync(join(scratch, 'node_modules/.package-lock.json'), { force: true });
  before = treeOutsideCopies();
  const [first, ...others] = apps.toReversed();
  for (const app of others) await makeCopy(scratch, nameOf(app), app);
  // The command links them all.
  const said = await run(scratch, 'npm', 'run', 'new', '--', nameOf(first!), '--from', first!);
  expect(said).toContain(`copying ${first} to apps/${nameOf(first!)}\n`);
}, 240_000);
afterAll(() => {
  for (const folder of [scratch, ejected]) rmSync(folder, { recursive: true, force: true });
});

describe('the workspace with a copy of each app', () => {
  it('has nothing else changed, is formatted and tidy', { timeout: 240_000 }, async () => {
    await Promise.all([
      run(scratch, 'npx', 'prettier', '--check', '--log-level', 'warn', 'apps'),
      run(scratch, 'npx', 'vitest', 'run', '--project', 'unit', 'tidy.test.ts'),
    ]);
    expect(treeOutsideCopies()).toEqual(before);
  });

  it('has a port for each', () => {
    expect(new Set([...apps, ...apps.map(nameOf)].map(portOf)).size).toBe(2 * apps.length);
  });
});

describe.each(apps)('a repository made of a copy of %s', (app) => {
  it('has right types, and passes its tests and its demo', { timeout: 240_000 }, async () => {
    const folder = join(ejected, nameOf(app));
    await eject(scratch, nameOf(app), folder);
    install(scratch, folder);
    // Of the smallest all checks, and the tests of libraries in which a command is called otherwise.
    const isSmallest = app === 'word-count';
    const tests = isSmallest ? [`apps/${nameOf(app)}/`, 'libs/simulation/', 'libs/watch/'] : [systemTest(folder, nameOf(app))];
    const [output, demo] = await Promise.all([
      run(folder, 'npx', 'vitest', 'run', '--project', 'unit', ...tests),
      needsEngine(app) ? 'Checked:' : run(folder, 'npm', 'run', 'demo'),
      isSmallest ? run(folder, 'npm', 'run', 'lint') : run(folder, 'npx', 'tsc', '--noEmit', '-p', '.'),
      isSmallest ? run(folder, 'npx', 'prettier', '--check', '--log-level', 'warn', '.') : undefined,
    ]);
    expect(output).toMatch(/Tests .*\d+ passed/);
    expect(demo).toContain('Checked:');
    expect(await run(folder, 'git', 'status', '--porcelain')).toBe('');
    expect(await run(folder, 'git', 'log', '--format=%s')).toBe(`Begin with ${app} of the lab kit\n`);
  });
});
